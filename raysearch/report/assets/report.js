"use strict";
(() => {
  const narrow = () => window.innerWidth < 640;
  const layoutFor = (layout, columns) => {
    if (!narrow()) return layout;
    return { ...layout, margin: { ...layout.margin, l: 4, r: 4 }, legend: { ...layout.legend, font: { size: 10.5 } } };
  };
  // Panels beside one another stand below one another on a phone.
  const stacked = (figure) => {
    const used = new Set(figure.data.map((t) => (t.xaxis || "x").replace("x", "xaxis")));
    const axes = Object.keys(figure.layout).filter((k) => used.has(k));
    const columns = new Set(axes.map((k) => (figure.layout[k].domain || [0, 1])[0].toFixed(3))).size;
    if (!narrow() || columns < 2 || axes.length < 2) return figure;
    const n = axes.length, gap = 0.3 / n, layout = { ...figure.layout, height: 70 + 230 * n };
    axes.forEach((k, i) => {
      const top = 1 - i / n, bottom = top - 1 / n + gap, y = k.replace("x", "y");
      layout[k] = { ...layout[k], domain: [0, 1] };
      const title = (layout[y].title || {}).text ? layout[y].title : layout.yaxis.title;
      layout[y] = { ...layout[y], title, domain: [Math.max(0, bottom), top], showticklabels: true, matches: undefined };
    });
    return { ...figure, layout };
  };
  window.drawPlot = (element, figure) => {
    const shown = stacked(figure);
    element.style.height = `${shown.layout.height}px`;
    return Plotly.react(element, shown.data, layoutFor(shown.layout), {
      responsive: true, displaylogo: false, showSendToCloud: false, displayModeBar: narrow() ? false : "hover",
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"], scrollZoom: false,
    });
  };
  const plots = [...document.querySelectorAll(".plot")];
  const figures = new Map();
  for (const element of plots) {
    const source = element.querySelector("script");
    if (source) { figures.set(element, JSON.parse(source.textContent)); source.remove(); }
  }
  const drawNext = (i) => {
    if (i >= plots.length) { document.documentElement.dataset.drawn = "true"; return; }
    const figure = figures.get(plots[i]);
    Promise.resolve(figure && window.drawPlot(plots[i], figure)).then(() => setTimeout(drawNext, 0, i + 1));
  };
  drawNext(0);

  const theme = document.getElementById("theme");
  if (theme) theme.addEventListener("click", () => {
    const root = document.documentElement, system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    root.dataset.theme = (root.dataset.theme || system) === "dark" ? "light" : "dark";
  });
  const copy = document.getElementById("copy");
  if (copy) copy.addEventListener("click", async () => {
    const box = document.querySelector(".decision"), lines = [document.title];
    for (const label of box.querySelectorAll("label")) {
      const input = label.querySelector("input[type=checkbox]");
      if (input) lines.push(`[${input.checked ? "x" : " "}] ${label.innerText.trim()}`);
    }
    for (const field of box.querySelectorAll("[name]")) lines.push(`${field.name}: ${field.value}`);
    const text = lines.join("\n"), said = document.getElementById("copied");
    try { await navigator.clipboard.writeText(text); said.textContent = "copied"; }
    catch (refused) {
      const area = document.createElement("textarea");
      area.value = text; document.body.append(area); area.select();
      said.textContent = document.execCommand("copy") ? "copied" : "your browser does not allow it";
      area.remove();
    }
  });
})();
