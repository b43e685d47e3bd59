// Draws the figures of a notebook, whose data stand in the page, in the colours of the page; anew when these change.
function drawFigures() {
  const dark = document.body.dataset.mdColorScheme === "slate";
  const ink = dark ? "#d5d7dd" : "#2b2e36";
  const line = dark ? "#3c3f4a" : "#dfe1e6";
  for (const holder of document.querySelectorAll(".figure")) {
    const figure = JSON.parse(holder.querySelector("script").textContent);
    const layout = { ...figure.layout, autosize: true, paper_bgcolor: "transparent", plot_bgcolor: "transparent" };
    layout.font = { ...layout.font, color: ink };
    for (const name of Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))) {
      layout[name] = { ...layout[name], gridcolor: line, zerolinecolor: line, linecolor: line };
    }
    delete layout.width;
    const plot = holder.querySelector("div");
    Plotly.react(plot, figure.data, layout, { responsive: true, displaylogo: false });
  }
  document.documentElement.dataset.figures = document.body.dataset.mdColorScheme;
}
drawFigures();
new MutationObserver(drawFigures).observe(document.body, { attributeFilter: ["data-md-color-scheme"] });
