"use strict";
// The page's own behaviour: its theme, the sliders that decode live, the map of codes. decoder.js comes before this.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (id) => document.getElementById(id);

  function floats(base64) {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    return new Float32Array(bytes.buffer);
  }

  // ---- theme ----

  function setUpTheme() {
    const root = document.documentElement, button = find("theme");
    const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
    const show = () => button.setAttribute("aria-pressed", String(dark()));
    button.hidden = false;
    button.addEventListener("click", () => {
      root.dataset.theme = dark() ? "light" : "dark";
      show();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
    show();
  }

  // ---- sliders ----

  function setUpSliders(vae) {
    const { names, order, shown } = data.live;
    const latents = data.latents;
    const typical = data.live.typical === null ? null : floats(data.live.typical);
    const mean = floats(data.live.mean), deviation = floats(data.live.deviation), factors = floats(data.live.factors);
    const screen = find("screen"), choice = find("class");
    let row = 0, z = new Float32Array(latents);

    const along = (axis) => (z[axis] - mean[row * latents + axis]) / (deviation[row * latents + axis] || 1);
    const note = find("screen-note");
    const say = (text) => { if (note.textContent !== text) note.textContent = text; }; // it is read aloud

    function paint() {
      vae.paint(vae.decode(row, z), screen);
    }
    function slider(axis, place) {
      const label = document.createElement("label"), input = document.createElement("input"), output = document.createElement("output");
      label.className = "slider";
      Object.assign(input, { type: "range", min: -3, max: 3, step: 0.05, id: `z${axis}`, value: along(axis) });
      const show = () => {
        output.textContent = Number(input.value).toFixed(2);
        input.setAttribute("aria-valuetext", `${Number(input.value).toFixed(2)} standard deviations`);
      };
      input.addEventListener("input", () => {
        z[axis] = mean[row * latents + axis] + Number(input.value) * deviation[row * latents + axis];
        show();
        paint();
        say(`Class ${names[row]}, moved by the sliders.`);
      });
      show();
      label.append(`z${axis}`, input, output);
      (place < shown ? find("sliders") : find("more-sliders")).append(label);
    }
    function layOut() {
      find("sliders").replaceChildren();
      find("more-sliders").replaceChildren();
      order[row].forEach(slider);
      find("others").hidden = latents <= shown;
      paint();
    }
    function moveTo(codes, words) {
      z = codes.slice(row * latents, (row + 1) * latents);
      layOut();
      say(`${words} of class ${names[row]}.`);
    }
    const toMean = () => moveTo(mean, "The mean");
    const begin = () => (typical === null ? toMean() : moveTo(typical, "The code of an image"));
    function normal() {
      return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
    }
    function draw() { // mean + factor · noise: the class's Gaussian
      const noise = Float32Array.from({ length: latents }, normal);
      for (let i = 0; i < latents; i++) {
        z[i] = mean[row * latents + i];
        for (let j = 0; j <= i; j++) z[i] += factors[(row * latents + i) * latents + j] * noise[j];
      }
      layOut();
      say(`A new image of class ${names[row]}, drawn from its Gaussian.`);
    }
    choice.addEventListener("change", () => { row = Number(choice.value); begin(); });
    find("mean").addEventListener("click", toMean);
    find("draw").addEventListener("click", draw);
    document.querySelector(".live").hidden = false;
    choice.value = "0";
    begin();
  }

  // ---- map ----

  function setUpMap(vae) {
    const { rows, names, layouts, sprite, decoded } = data.map;
    const codes = floats(data.map.codes), latents = data.latents;
    const svg = find("points"), circles = [...svg.querySelectorAll("circle")], hover = find("hover");
    const only = find("only"), real = find("real"), thumb = find("thumb");
    let layout = data.map.layout, here = -1;

    const sheet = new Image();
    if (sprite) sheet.src = sprite.uri;
    real.hidden = !sprite;

    const decodes = (i) => rows[i] < decoded; // of many classes the page holds the first ones' decoders alone
    const visible = (i) => only.value === "" || rows[i] === Number(only.value);

    function describe(i) {
      const again = sprite ? ": the image, and as it is reconstructed" : ": as it is reconstructed";
      return `${names[rows[i]]}${decodes(i) ? again : ""}`;
    }
    function leave() {
      if (here >= 0) circles[here].classList.remove("here");
      here = -1;
      hover.hidden = true;
    }
    function show(i, aloud) {
      if (i === here) return;
      leave();
      here = i;
      circles[i].classList.add("here");
      svg.append(circles[i]); // above the others
      thumb.hidden = !decodes(i);
      if (decodes(i)) vae.paint(vae.decode(rows[i], codes.slice(i * latents, (i + 1) * latents)), thumb);
      if (sprite && sheet.complete) {
        const [width, height] = sprite.tile;
        Object.assign(real, { width, height });
        real.getContext("2d").drawImage(sheet, (i % sprite.columns) * width, Math.floor(i / sprite.columns) * height, width, height, 0, 0, width, height);
      }
      find("hover-text").textContent = describe(i);
      hover.hidden = false;
      const box = svg.getBoundingClientRect(), [x, y] = layouts[layout][i];
      const left = (x / 1000) * box.width, top = (y / 700) * box.height;
      const beside = (at, side, whole) => Math.max(0, at > whole / 2 ? at - side - 12 : Math.min(at + 12, whole - side));
      hover.style.left = `${beside(left, hover.offsetWidth, box.width)}px`;
      hover.style.top = `${beside(top, hover.offsetHeight, box.height)}px`;
      if (aloud) find("map-live").textContent = `Point ${i + 1} of ${rows.length}, ${names[rows[i]]}`;
    }
    function nearest(event) {
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * 1000, y = ((event.clientY - box.top) / box.height) * 700;
      const reach = Math.max(14, 14 * (1000 / box.width)); // in units of the map: 14 pixels of the screen
      let found = -1, least = reach * reach;
      layouts[layout].forEach(([px, py], i) => {
        const distance = (px - x) ** 2 + (py - y) ** 2;
        if (distance < least && visible(i)) [found, least] = [i, distance];
      });
      if (found >= 0) show(found, false);
      else leave();
    }
    function step(by) {
      for (let k = 1; k <= rows.length; k++) {
        const i = (((here < 0 && by < 0 ? 0 : here) + by * k) % rows.length + rows.length) % rows.length;
        if (visible(i)) return show(i, true);
      }
    }
    svg.addEventListener("pointermove", nearest);
    svg.addEventListener("pointerdown", nearest);
    svg.addEventListener("pointerleave", leave);
    svg.addEventListener("blur", leave);
    svg.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (by) { step(by); event.preventDefault(); }
      if (event.key === "Escape") leave();
    });
    only.addEventListener("change", () => {
      leave();
      circles.forEach((circle, i) => circle.classList.toggle("away", !visible(i)));
    });
    for (const radio of document.querySelectorAll("input[name=layout]")) {
      radio.addEventListener("change", () => {
        leave();
        layout = radio.value;
        layouts[layout].forEach(([x, y], i) => { circles[i].setAttribute("cx", x); circles[i].setAttribute("cy", y); });
      });
    }
    layouts[layout] = circles.map((circle) => [Number(circle.getAttribute("cx")), Number(circle.getAttribute("cy"))]);
    find("map-controls").hidden = false;
    only.value = "";
    document.querySelector(`input[name=layout][value=${layout}]`).checked = true;
  }

  setUpTheme();
  const vae = data.decoder ? new VAEDecoder(data.decoder) : null; // null: of networks that a page cannot run
  if (vae) setUpSliders(vae);
  if (data.map) setUpMap(vae);
})();
