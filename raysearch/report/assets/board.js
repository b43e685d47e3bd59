"use strict";
(() => {
  const EVERY_MS = 2000;
  const at = (id) => document.getElementById(id);
  const tabs = [...document.querySelectorAll(".tab")];
  let run = 0, version = 0, timer = 0;
  const figureFor = (one) => {
    let box = document.getElementById(`figure-${one.name}`);
    if (!box) {
      box = document.createElement("figure");
      box.id = `figure-${one.name}`;
      box.innerHTML = '<h3></h3><div class="scroll"><div class="plot"></div></div><figcaption></figcaption>';
      if (one.name === "parallel") box.querySelector(".plot").classList.add("wide");
      at("figures").append(box);
    }
    return box;
  };
  const show = async (state) => {
    version = state.version;
    at("name").textContent = state.name;
    at("headline").textContent = state.headline;
    at("headline").className = `headline ${state.tone}`;
    at("tiles").innerHTML = state.tiles;
    const names = new Set(state.figures.map((one) => `figure-${one.name}`));
    for (const box of [...at("figures").children]) if (!names.has(box.id)) box.remove();
    for (const one of state.figures) {
      const box = figureFor(one);
      box.querySelector("h3").textContent = one.title;
      box.querySelector("figcaption").textContent = one.note;
      await window.drawPlot(box.querySelector(".plot"), one.figure);
    }
    document.documentElement.dataset.version = String(version);
  };
  const look = async () => {
    const asked = run;
    try {
      const answer = await fetch(`/runs/${asked}?known=${version}`);
      const state = await answer.json();
      if (asked !== run) return;
      if (!answer.ok) throw new Error(state.error);
      at("live").textContent = `· ${new Date().toLocaleTimeString()}`;
      if (state.figures) await show(state);
    } catch (error) {
      at("live").textContent = `· not reached: ${error.message}`;
    }
    timer = setTimeout(look, EVERY_MS);
  };
  const choose = (next) => {
    run = next; version = 0;
    tabs.forEach((tab, i) => tab.classList.toggle("chosen", i === run));
    at("figures").replaceChildren();
    clearTimeout(timer); look();
  };
  tabs.forEach((tab, i) => tab.addEventListener("click", () => choose(i)));
  choose(0);
})();
