"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const tabs = [...document.querySelectorAll(".tab")];
  const token = new URLSearchParams(location.hash.slice(1)).get("token") || "";
  let run = 0, stream = null, latest = {}, drawing = false;
  const marks = new Map(), asked = new Map(), again = new Map(), near = new Set();  // by the id of a figure
  const view = new IntersectionObserver((changes) => {
    for (const { target, isIntersecting } of changes) near[isIntersecting ? "add" : "delete"](target.id);
    draw();
  }, { rootMargin: "300px 0px" });
  const placeFor = (one) => {
    const box = document.createElement("figure");
    box.id = `figure-${one.name}`;
    box.innerHTML = '<h3></h3><div class="scroll"><div class="plot waiting"></div></div><figcaption></figcaption>';
    box.querySelector("h3").textContent = one.title;
    if (one.name === "parallel") box.querySelector(".plot").classList.add("wide");
    view.observe(box);
    return box;
  };
  const forget = (box) => {
    view.unobserve(box); box.remove(); clearTimeout(again.get(box.id));
    for (const known of [marks, asked, again, near]) known.delete(box.id);
  };
  const show = (state) => {
    at("name").textContent = state.name;
    at("headline").textContent = state.headline;
    at("headline").className = `headline ${state.tone}`;
    at("tiles").innerHTML = state.tiles;
    const names = state.figures.map((one) => `figure-${one.name}`);
    for (const box of [...at("figures").children]) if (!names.includes(box.id)) forget(box);
    state.figures.forEach((one, i) => {
      const there = at("figures").children[i];
      if (!there || there.id !== names[i]) at("figures").insertBefore(at(names[i]) || placeFor(one), there || null);
    });
  };
  const fill = async (id) => {
    const of = run, box = at(id), name = id.replace("figure-", "");
    asked.set(id, latest.version);
    const answer = await fetch(`/runs/${of}/figures/${name}?mark=${marks.get(id) || ""}`);
    if (of !== run || !box.isConnected || !answer.ok) return;
    const found = await answer.json();
    if (found.again_s !== null) {
      clearTimeout(again.get(id));
      again.set(id, setTimeout(() => { asked.delete(id); draw(); }, 1000 * found.again_s));
    }
    if (!("figure" in found)) return;
    marks.set(id, found.mark);
    box.querySelector("figcaption").textContent = found.note;
    const plot = box.querySelector(".plot");
    plot.classList.remove("waiting");
    await window.drawPlot(plot, JSON.parse(found.figure));
  };
  const pause = () => new Promise((next) => setTimeout(next));
  const frame = () => new Promise((next) => requestAnimationFrame(next));
  // Draws the figures in view that are not of the latest version, one after another.
  const draw = async () => {
    if (drawing || !latest.version) return;
    drawing = true;
    let shown = 0;
    try {
      while (latest.version) {
        if (shown !== latest.version) {
          show(latest); shown = latest.version;
          await frame(); await frame(); await pause();  // so that the figures in view are known
        }
        const next = [...at("figures").children].find((box) => near.has(box.id) && asked.get(box.id) !== shown);
        if (next) await fill(next.id);
        else if (shown === latest.version) break;
        await pause();  // the page answers between two figures
      }
      document.documentElement.dataset.version = String(shown);
    } catch (lost) {
      at("live").textContent = "· not reached; trying again";
    }
    drawing = false;
  };
  const choose = (next) => {
    run = next; latest = {};
    tabs.forEach((tab, i) => tab.classList.toggle("chosen", i === run));
    [...at("figures").children].forEach(forget);
    if (stream) stream.close();
    stream = new EventSource(`/runs/${run}/events`);
    stream.onopen = () => { latest = {}; };  // a stream begins with all that there is
    stream.addEventListener("state", (event) => {
      latest = { ...latest, ...JSON.parse(event.data) };
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
