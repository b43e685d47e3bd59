"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const tabs = [...document.querySelectorAll(".tab")];
  const token = new URLSearchParams(location.hash.slice(1)).get("token") || "";
  let run = 0, stream = null, latest = null, drawing = false;
  const drawn = new Map();
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
  const pause = () => new Promise((next) => setTimeout(next));
  const show = async (state) => {
    at("name").textContent = state.name;
    at("headline").textContent = state.headline;
    at("headline").className = `headline ${state.tone}`;
    at("tiles").innerHTML = state.tiles;
    const names = new Set(state.figures.map((one) => `figure-${one.name}`));
    for (const box of [...at("figures").children]) if (!names.has(box.id)) { box.remove(); drawn.delete(box.id); }
    for (const one of state.figures) {
      const box = figureFor(one), text = JSON.stringify(one.figure);
      box.querySelector("h3").textContent = one.title;
      box.querySelector("figcaption").textContent = one.note;
      if (drawn.get(box.id) === text) continue;
      await pause();  // the page answers between two figures
      if (latest !== state) return;
      drawn.set(box.id, text);
      await window.drawPlot(box.querySelector(".plot"), one.figure);
    }
    document.documentElement.dataset.version = String(state.version);
  };
  const draw = async () => {
    if (drawing) return;
    drawing = true;
    let done = null;
    while (latest && latest !== done) { done = latest; await show(done); }
    drawing = false;
  };
  const choose = (next) => {
    run = next; latest = null;
    tabs.forEach((tab, i) => tab.classList.toggle("chosen", i === run));
    at("figures").replaceChildren(); drawn.clear();
    if (stream) stream.close();
    stream = new EventSource(`/runs/${run}/events`);
    stream.addEventListener("state", (event) => {
      latest = JSON.parse(event.data);
      at("live").textContent = `· ${new Date().toLocaleTimeString()}`;
      draw();
    });
    stream.addEventListener("trouble", (event) => { at("live").textContent = `· ${JSON.parse(event.data)}`; });
    stream.onerror = () => { at("live").textContent = "· not reached; trying again"; };
    preview();
  };
  const needs = {
    samples: ["how many more", "+20"],
    enqueue: ["configuration, as YAML", "lr: 0.001"],
    space: ["the whole space, as YAML; the run pauses, and resume goes on in it", "lr: {loguniform: [1.0e-4, 1.0e-1]}"],
    nudge: ["new values, as YAML", "lr: 0.001"],
    rollback: ["segment, as the lineage shows it", "12.3"],
  };
  const ask = async (isTry) => {
    const answer = await fetch(`/runs/${run}/orders`, {
      method: "POST",
      headers: {"Content-Type": "application/json", "X-Raysearch-Token": token},
      body: JSON.stringify({kind: at("kind").value, text: at("text").value, try: isTry}),
    });
    return await answer.json();
  };
  const preview = async () => {
    if (!at("steer")) return;
    const need = needs[at("kind").value];
    at("typed").hidden = !need;
    if (need) { at("what").textContent = need[0]; at("text").placeholder = need[1]; }
    const said = await ask(true);
    at("command").textContent = said.command || "";
    at("answer").textContent = said.error || "";
    at("answer").className = said.error ? "bad" : "";
  };
  const give = async () => {
    at("give").disabled = true;
    at("answer").className = "";
    at("answer").textContent = "the order is given; the run has not answered yet";
    try {
      const said = await ask(false);
      at("answer").textContent = said.error || (said.accepted ? said.words : `refused: ${said.words}`);
      at("answer").className = said.accepted ? "good" : "bad";
      at("command").textContent = said.command || "";
    } catch (error) {
      at("answer").textContent = `not reached: ${error.message}`;
      at("answer").className = "bad";
    }
    at("give").disabled = false;
  };
  tabs.forEach((tab, i) => tab.addEventListener("click", () => choose(i)));
  if (at("steer")) {
    at("kind").addEventListener("change", () => { at("text").value = ""; preview(); });
    at("text").addEventListener("change", preview);
    at("give").addEventListener("click", give);
  }
  choose(0);
})();
