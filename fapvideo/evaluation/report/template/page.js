"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const EDGE = { left: 52, right: 10, top: 20, bottom: 34 };
  const HEIGHT = 230;

  // ------------------------------------------------------------------ small helpers

  /** Make an element; text is always text, never markup. */
  function make(name, attributes = {}, ...children) {
    const spaces = ["svg", "path", "line", "circle", "text", "rect"].includes(name);
    const element = spaces ? document.createElementNS(SVG, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value !== undefined && value !== false) element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
  }

  function sample(index) {
    const key = make("svg", { class: `key s${index % 8}`, width: 20, height: 8, "aria-hidden": "true" });
    key.append(make("line", { x1: 0, y1: 4, x2: 20, y2: 4 }));
    return key;
  }

  function clock(seconds) {
    const minutes = Math.floor(seconds / 60);
    return `${minutes}:${(seconds - 60 * minutes).toFixed(2).padStart(5, "0")}`;
  }

  function digits(value) {
    const size = Math.abs(value);
    return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : size === 0 ? 0 : 3).replace("-", "−");
  }

  /** Round numbers that span [low, high]. */
  function ticks(low, high, wanted) {
    const rough = (high - low || 1) / wanted;
    const unit = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((factor) => factor * unit).find((size) => size >= rough);
    const out = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) out.push(i * step);
    const places = Math.max(0, -Math.floor(Math.log10(step) + 1e-9) + (step / unit === 2.5 ? 1 : 0));
    return out.map((value) => [value, value.toFixed(Math.min(6, places)).replace("-", "−")]);
  }

  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  // ------------------------------------------------------------------ light and dark

  const root = document.documentElement;
  const themeButton = document.getElementById("theme");
  const system = window.matchMedia("(prefers-color-scheme: dark)");

  function stored() {
    try { return localStorage.getItem("fapvideo-theme"); } catch { return null; }
  }

  function isDark() {
    return root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
  }

  function showTheme() {
    themeButton.setAttribute("aria-pressed", String(isDark()));
  }

  if (["light", "dark"].includes(stored())) root.dataset.theme = stored();
  showTheme();
  themeButton.setAttribute("aria-label", "Dark mode");
  system.addEventListener("change", showTheme);
  themeButton.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("fapvideo-theme", root.dataset.theme); } catch { /* a file may have no storage */ }
    showTheme();
  });

  // ------------------------------------------------------------------ tables

  function sortBy(table, place) {
    const headers = [...table.tHead.rows[0].cells];
    const header = headers[place];
    const better = header.dataset.better;
    const first = better === "higher" ? "descending" : "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const direction = header.getAttribute("aria-sort") === first ? other : first;
    const sign = direction === "ascending" ? 1 : -1;
    const body = table.tBodies[0];
    const key = (row) => {
      const cell = row.cells[place];
      if (!better) return cell.textContent;
      if (cell.dataset.value === undefined) return null;
      const value = Number(cell.dataset.value);
      return better === "one" ? Math.abs(value - 1) : value;
    };
    const rows = [...body.rows].map((row) => [key(row), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (typeof a === "number" ? a - b : a.localeCompare(b));
    });
    body.append(...rows.map(([, row]) => row));
    headers.forEach((cell) => cell.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", direction);
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    table.querySelectorAll("button.sort").forEach((button, place) => {
      button.addEventListener("click", () => sortBy(table, place));
    });
  }

  const boxes = [...document.querySelectorAll("[data-table]")];
  function showTable(wanted) {
    boxes.forEach((box) => { box.hidden = box.dataset.table !== wanted; });
  }
  if (boxes.length > 1) {
    const chosen = document.getElementById("table-switch");
    chosen.addEventListener("change", (event) => showTable(event.target.value));
    showTable(chosen.querySelector(":checked").value);
  }

  for (const button of document.querySelectorAll("button.info")) {
    const box = document.getElementById(button.getAttribute("popovertarget"));
    button.addEventListener("click", () => requestAnimationFrame(() => {
      const at = button.getBoundingClientRect();
      const below = at.bottom + 8 + box.offsetHeight < window.innerHeight;
      box.style.margin = "0";
      box.style.left = `${clamp(at.left - 20, 12, Math.max(12, window.innerWidth - box.offsetWidth - 12))}px`;
      box.style.top = `${below ? at.bottom + 8 : Math.max(8, at.top - box.offsetHeight - 8)}px`;
    }));
  }

  window.addEventListener("beforeprint", () => {
    document.querySelectorAll("details").forEach((item) => { item.open = true; });
  });

  // ------------------------------------------------------------------ one clip

  class Bench {
    constructor(section, clip) {
      this.section = section;
      this.clip = clip;
      this.find = (name) => section.querySelector(name);
      this.hidden = new Set();
      this.curve = clip.curves[0] ?? null;
      this.pictured = Object.keys(clip.strips).map(Number).sort((a, b) => a - b);
      this.position = clip.start;
      this.video = this.find("video");
      this.scrub = this.find(".scrub input");
      if (this.curve) this.build();
      section.addEventListener("click", (event) => this.clicked(event));
      this.select(clip.start, clip.metric);
      if (this.curve) new ResizeObserver(() => this.draw()).observe(this.find(".chart"));
    }

    label(position) {
      if (this.clip.photos) return `pair ${position}`;
      return `${clock(this.clip.times[position])} · frame ${position}`;
    }

    visible() {
      return this.clip.systems.filter((name) => !this.hidden.has(name));
    }

    build() {
      const cards = this.find(".cards");
      this.clip.curves.forEach((curve) => {
        const flags = curve.suspects.length;
        const card = make("button", { type: "button", class: "card" },
          make("span", {}, curve.title, flags ? make("b", {}, ` ${flags} suspect`) : ""), this.spark(curve));
        card.addEventListener("click", () => { this.curve = curve; this.refresh(); });
        curve.card = card;
        cards.append(card);
      });
      if (this.clip.curves.length < 2) cards.hidden = true;
      const legend = this.find(".systems");
      this.clip.systems.forEach((name) => {
        const button = make("button", { type: "button", "aria-pressed": "true" }, sample(data.colours[name]), name);
        button.addEventListener("click", () => {
          if (!this.hidden.delete(name) && this.visible().length > 1) this.hidden.add(name);
          button.setAttribute("aria-pressed", String(!this.hidden.has(name)));
          this.refresh();
        });
        legend.append(button);
      });
      this.scrub.addEventListener("input", () => this.select(Number(this.scrub.value)));
      this.video?.addEventListener("timeupdate", () => { if (!this.video.paused) this.follow(); });
    }

    /** A curve's outline for its card. */
    spark(curve) {
      const picture = make("svg", { viewBox: "0 0 100 30", preserveAspectRatio: "none", "aria-hidden": "true" });
      const [low, high] = this.range(curve, this.clip.systems);
      for (const name of [...this.clip.systems].reverse()) {
        const values = curve.values[name] ?? [];
        const step = Math.max(1, Math.floor(values.length / 160));
        const points = values.map((value, i) => [100 * i / Math.max(1, values.length - 1), value]).filter((_, i) => i % step === 0);
        const path = this.path(points, (x) => x, (y) => 28 - 26 * (y - low) / (high - low));
        picture.append(make("path", { d: path, class: `s${data.colours[name] % 8}` }));
      }
      return picture;
    }

    path(points, x, y) {
      let pen = "M";
      let out = "";
      for (const [at, value] of points) {
        if (value === null) { pen = "M"; continue; }
        out += `${pen}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
        pen = "L";
      }
      return out;
    }

    range(curve, systems) {
      const values = [...systems.flatMap((name) => curve.values[name] ?? []), ...curve.source].filter((value) => value !== null);
      if (!values.length) return [0, 1];
      let low = values.reduce((a, b) => Math.min(a, b));
      let high = values.reduce((a, b) => Math.max(a, b));
      if (low > 0 && low < 0.6 * high) low = 0;
      if (high === low) { high += Math.abs(high) * 0.1 || 1; low -= low === 0 ? 0 : Math.abs(low) * 0.1; }
      return [low, high + 0.04 * (high - low)];
    }

    // -------------------------------------------------------------- the chart

    draw() {
      const box = this.find(".chart");
      const width = Math.max(240, box.clientWidth);
      const count = this.clip.frames;
      const times = this.clip.times;
      const at = (i) => this.clip.photos ? i : times[i];
      const [start, end] = [at(0), count > 1 ? at(count - 1) : at(0) + 1];
      const [low, high] = this.range(this.curve, this.visible());
      const x = (value) => EDGE.left + (width - EDGE.left - EDGE.right) * (value - start) / (end - start || 1);
      const y = (value) => HEIGHT - EDGE.bottom - (HEIGHT - EDGE.top - EDGE.bottom) * (value - low) / (high - low);
      this.x = (position) => x(at(position));
      const picture = make("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": this.described() });
      for (const [value, text] of ticks(low, high, 4)) {
        picture.append(make("line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: y(value), y2: y(value) }),
          make("text", { x: EDGE.left - 8, y: y(value) + 4, "text-anchor": "end" }, text));
      }
      const floor = HEIGHT - EDGE.bottom;
      for (const stretch of this.clip.stretches) {
        const [from, to] = [stretch.start_s, stretch.end_s].map((time) => x(clamp(time, start, end)));
        const shade = make("rect", { class: "stretch", x: from, y: EDGE.top, width: Math.max(2, to - from), height: floor - EDGE.top });
        shade.append(document.createElementNS(SVG, "title"));
        shade.firstChild.textContent = stretch.words;
        picture.append(shade);
      }
      picture.append(make("line", { class: "axis", x1: EDGE.left, x2: width - EDGE.right, y1: floor, y2: floor }));
      if (this.curve.unit) picture.append(make("text", { x: 0, y: 11 }, this.curve.unit));
      for (const [value, text] of ticks(start, end, clamp(Math.floor(width / 110), 2, 10))) {
        if (this.clip.photos && !Number.isInteger(value)) continue;
        picture.append(make("text", { x: x(value), y: floor + 20, "text-anchor": "middle" }, text));
      }
      picture.append(make("text", { x: width - EDGE.right, y: HEIGHT - 1, "text-anchor": "end" }, this.clip.photos ? "pair" : "seconds"));
      this.curve.suspects.forEach((position) => {
        picture.append(make("line", { class: "tick suspect", x1: this.x(position), x2: this.x(position), y1: floor, y2: floor + 6 }));
      });
      if (this.curve.source.length) {
        const under = this.curve.source.map((value, i) => [i, value]);
        picture.append(make("path", { class: "curve under", d: this.path(under, this.x, y) }));
      }
      for (const name of [...this.visible()].reverse()) this.line(picture, name, y);
      this.head = make("line", { class: "head", y1: EDGE.top, y2: floor });
      this.hover = make("line", { class: "hover", y1: EDGE.top, y2: floor, visibility: "hidden" });
      picture.append(this.hover, this.head);
      for (const name of [...this.visible()].reverse()) this.marks(picture, name, y);
      box.replaceChildren(picture);
      this.listen(picture, box);
      this.moveHead();
    }

    line(picture, name, y) {
      const values = this.curve.values[name] ?? [];
      const style = `s${data.colours[name] % 8}`;
      if (this.clip.photos || values.length < 3) {
        values.forEach((value, i) => {
          if (value !== null) picture.append(make("circle", { class: `point ${style}`, cx: this.x(i), cy: y(value), r: 3.2 }));
        });
        return;
      }
      const points = values.map((value, i) => [i, value]);
      picture.append(make("path", { class: `curve ${style}`, d: this.path(points, this.x, y) }));
    }

    marks(picture, name, y) {
      for (const position of this.curve.worst[name] ?? []) {
        const value = this.curve.values[name][position];
        const mark = make("circle", { class: `worstmark s${data.colours[name] % 8}`, cx: this.x(position), cy: y(value), r: 4.5, "data-frame": position });
        mark.append(document.createElementNS(SVG, "title"));
        mark.firstChild.textContent = `${name}, ${this.label(position)}: ${digits(value)}`;
        picture.append(mark);
      }
    }

    listen(picture, box) {
      const nearest = (event) => {
        const left = event.clientX - picture.getBoundingClientRect().left;
        let best = 0;
        for (let i = 1; i < this.clip.frames; i++) if (Math.abs(this.x(i) - left) < Math.abs(this.x(best) - left)) best = i;
        return best;
      };
      let readout = null;
      picture.addEventListener("pointermove", (event) => {
        const position = nearest(event);
        readout ??= box.appendChild(make("div", { class: "readout" }));
        readout.replaceChildren(make("div", {}, this.label(position)), ...this.visible().map((name) => {
          const value = (this.curve.values[name] ?? [])[position] ?? null;
          const key = make("span", {}, sample(data.colours[name]), ` ${name}`);
          return make("div", {}, key, make("span", {}, value === null ? "–" : digits(value)));
        }));
        const own = this.curve.source[position] ?? null;
        if (own !== null) readout.append(make("div", {}, make("span", {}, "source"), make("span", {}, digits(own))));
        const x = this.x(position);
        this.hover.setAttribute("x1", x);
        this.hover.setAttribute("x2", x);
        this.hover.setAttribute("visibility", "visible");
        const right = x + 14 + readout.offsetWidth < box.clientWidth;
        readout.style.left = `${right ? x + 14 : Math.max(0, x - 14 - readout.offsetWidth)}px`;
      });
      picture.addEventListener("pointerleave", () => {
        readout?.remove();
        readout = null;
        this.hover.setAttribute("visibility", "hidden");
      });
      picture.addEventListener("click", (event) => {
        if (!event.target.closest("[data-frame]")) this.select(nearest(event));
      });
    }

    described() {
      const parts = this.visible().map((name) => {
        const values = (this.curve.values[name] ?? []).filter((value) => value !== null);
        if (!values.length) return `${name}: no points`;
        const low = values.reduce((a, b) => Math.min(a, b));
        const high = values.reduce((a, b) => Math.max(a, b));
        return `${name}: ${digits(low)} to ${digits(high)}`;
      });
      return `${this.curve.title} over ${this.clip.photos ? "pairs" : "time"}. ${parts.join("; ")}`;
    }

    moveHead() {
      if (!this.head) return;
      const x = this.x(this.position);
      this.head.setAttribute("x1", x);
      this.head.setAttribute("x2", x);
      for (const mark of this.section.querySelectorAll(".worstmark")) {
        mark.classList.toggle("on", Number(mark.dataset.frame) === this.position);
      }
    }

    /** While the video plays, the line in the chart goes with it. */
    follow() {
      const time = this.clip.times[0] + this.video.currentTime;
      let best = 0;
      this.clip.times.forEach((at, i) => { if (Math.abs(at - time) < Math.abs(this.clip.times[best] - time)) best = i; });
      this.position = best;
      this.scrub.value = best;
      this.moveHead();
    }

    // -------------------------------------------------------------- choosing frames

    clicked(event) {
      const target = event.target.closest("[data-frame]");
      if (!target) return;
      this.select(Number(target.dataset.frame), target.dataset.metric);
      if (!target.closest(".chart, .worst, .inspector")) {
        const place = this.find(".chart") ?? this.find(".inspector");
        place?.scrollIntoView({ block: "start" });
      }
    }

    select(position, metric) {
      this.position = clamp(position, 0, Math.max(0, this.clip.frames - 1));
      const curve = this.clip.curves.find((item) => item.key === metric);
      if (curve) this.curve = curve;
      if (this.scrub) {
        this.scrub.value = this.position;
        this.scrub.setAttribute("aria-valuetext", this.label(this.position));
      }
      if (this.video?.paused && !this.clip.photos && this.ready) {
        const time = this.clip.times[this.position] - this.clip.times[0];
        if (time < (this.video.duration || 0)) this.video.currentTime = time + 0.001;
      }
      this.ready = true;
      this.refresh();
    }

    refresh() {
      if (this.curve) {
        this.clip.curves.forEach((curve) => curve.card.setAttribute("aria-pressed", String(curve === this.curve)));
        this.find(".charttitle").replaceChildren(`${this.curve.title} `, make("span", {}, [this.curve.unit, this.curve.better].filter(Boolean).join(" · ")));
        this.draw();
        this.listWorst();
      }
      this.inspect();
    }

    listWorst() {
      const line = this.find(".worst");
      const marks = this.visible().flatMap((name) => (this.curve.worst[name] ?? []).map((position) => ({ name, position })));
      const shown = marks.slice(0, 12).map(({ name, position }) => {
        const text = this.clip.photos ? `pair ${position}` : clock(this.clip.times[position]);
        const button = make("button", { type: "button", class: "link", "data-frame": position }, text);
        button.setAttribute("aria-label", `${name}, ${this.label(position)}`);
        return make("span", {}, sample(data.colours[name]), " ", button);
      });
      line.replaceChildren(...(shown.length ? [make("span", {}, "Worst:"), ...shown] : []));
    }

    // -------------------------------------------------------------- before, reference, after

    nearest() {
      let best = null;
      for (const position of this.pictured) {
        if (best === null || Math.abs(position - this.position) < Math.abs(best - this.position)) best = position;
      }
      return best;
    }

    inspect() {
      const box = this.find(".inspector");
      const shown = this.nearest();
      if (!box || shown === null) return;
      const strip = this.clip.strips[shown];
      const where = shown === this.position ? "" : ` (the nearest with pictures to ${this.clip.photos ? "pair" : "frame"} ${this.position})`;
      const head = make("div", { class: "framehead" },
        make("p", {}, make("strong", {}, this.label(shown)), where, this.faces(strip)), this.steps(shown));
      const systems = this.visible().filter((name) => strip.shots[name]);
      const row = make("div", { class: systems.length === 1 ? "strip single" : "strip" });
      const sheet = this.clip.references[strip.reference];
      const sources = [this.still("Before", strip.before, `source, ${this.label(shown)}`)];
      if (sheet) sources.push(this.still("Reference", sheet.picture, `reference photos: ${sheet.labels.join("; ")}`, sheet.labels.join(" · ")));
      row.append(...(systems.length === 1 ? sources : [make("div", {}, ...sources)]));
      systems.forEach((name) => row.append(...this.shot(name, strip, shown, systems.length === 1)));
      box.replaceChildren(head, row, this.scale());
    }

    faces(strip) {
      if (strip.faces === 1) return "";
      return strip.faces ? ` · the largest of ${strip.faces} faces` : " · no face here: the whole frame";
    }

    steps(shown) {
      const place = this.pictured.indexOf(shown);
      const step = (text, label, target) => {
        const button = make("button", { type: "button", class: "quiet", "aria-label": label }, text);
        if (target === undefined) button.disabled = true;
        button.addEventListener("click", () => {
          this.select(target);
          this.find(`.framehead [aria-label="${label}"]`)?.focus();
        });
        return button;
      };
      return make("div", {}, step("←", "Earlier picture", this.pictured[place - 1]), step("→", "Later picture", this.pictured[place + 1]));
    }

    still(title, source, description, below) {
      const picture = make("img", { src: source, alt: description, width: 256, height: 256 });
      const out = make("figure", {}, make("figcaption", {}, title), picture);
      if (below) out.append(make("figcaption", { class: "below" }, below));
      return out;
    }

    shot(name, strip, position, single) {
      const { after, difference, peak } = strip.shots[name];
      const where = `${name}, ${this.label(position)}`;
      const caption = make("figcaption", {}, sample(data.colours[name]), name);
      const blink = this.blink(make("img", { src: after, alt: `result of ${where}`, width: 256, height: 256 }), strip.before, after, where);
      const heat = make("img", { src: difference, alt: `difference of ${where}, at most ${peak} levels`, width: 256, height: 256 });
      const note = make("figcaption", { class: "below" }, `largest difference ${peak}`);
      if (!single) return [make("figure", {}, caption, blink, heat, note)];
      return [make("figure", {}, caption, blink), make("figure", {}, make("figcaption", {}, "Difference"), heat, note)];
    }

    /** Hold to see the source: the eye finds what changes. */
    blink(picture, before, after, where) {
      const button = make("button", { type: "button", class: "blink", "aria-label": `Hold to see the source: ${where}`, title: "Hold to see the source" }, picture);
      const show = (source) => () => { picture.src = source; };
      const key = (action) => (event) => {
        if (event.key === " " || event.key === "Enter") { event.preventDefault(); action(); }
      };
      button.addEventListener("pointerdown", show(before));
      for (const name of ["pointerup", "pointerleave", "pointercancel", "blur"]) button.addEventListener(name, show(after));
      button.addEventListener("keydown", key(show(before)));
      button.addEventListener("keyup", key(show(after)));
      button.addEventListener("contextmenu", (event) => event.preventDefault());
      picture.draggable = false;
      return button;
    }

    scale() {
      const marks = make("svg", { "aria-hidden": "true" });
      for (const level of data.scale.ticks) {
        marks.append(make("text", { x: `${100 * Math.sqrt(level / data.scale.full)}%`, y: 12 }, level === data.scale.full ? `≥ ${level}` : String(level)));
      }
      const bar = make("div", { class: "bar" }, make("img", { src: data.scale.picture, width: 256, height: 8, alt: `Colour scale: black 0, bright yellow ${data.scale.full} levels or more` }), marks);
      const text = "Difference to the source: the largest of R, G and B in levels of 255, on a square-root scale; the outline is the mask. Hold a result to see the source.";
      return make("div", { class: "scale" }, bar, make("p", {}, text));
    }
  }

  for (const section of document.querySelectorAll("section.clip")) {
    const clip = data.clips[Number(section.dataset.clip)];
    if (section.querySelector(".bench")) new Bench(section, clip);
  }
})();
