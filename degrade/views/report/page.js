"use strict";
// Makes the figures of a page move. Without it the page has the same figures, numbers and tables.
(() => {
  const W = 440, H = 300, LEFT = 56, RIGHT = 12, TOP = 10, BOTTOM = 46, MARGIN = 0.015;
  const NS = "http://www.w3.org/2000/svg";
  const make = (tag, words = {}, text = "") => {
    const made = document.createElement(tag);
    for (const [key, value] of Object.entries(words)) made.setAttribute(key, value);
    if (text) made.textContent = text;
    return made;
  };
  const draw = (tag, words, text = "") => {
    const made = document.createElementNS(NS, tag);
    for (const [key, value] of Object.entries(words)) made.setAttribute(key, value);
    if (text) made.textContent = text;
    return made;
  };
  const round = (value) => Number(value.toFixed(1));
  const said = make("p", { class: "said", "aria-live": "polite" });
  document.body.append(said);

  // Round numbers between two ends, five or so.
  const ticks = (low, high) => {
    const rough = (high - low) / 5 || 1, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((each) => each * power).find((each) => each >= rough * 0.999);
    const found = [];
    for (let at = Math.ceil(low / step); at * step <= high * (1 + 1e-9); at++) found.push(at * step);
    return found;
  };
  const powers = (low, high) => {
    const found = [], fine = high < 100 * low;
    for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++)
      for (const each of fine ? [1, 2, 5] : [1])
        if (each * 10 ** power >= low * 0.999 && each * 10 ** power <= high * 1.001) found.push(each * 10 ** power);
    return found;
  };
  const show = (value, log) =>
    log && value > 0 && (value < 0.01 || value >= 1e5)
      ? value.toExponential(0).replace("e+", "e")
      : String(Number(value.toPrecision(4)));
  const count = (value) => Number(value.toPrecision(10)).toLocaleString("en-US", { maximumFractionDigits: 6 });

  class Plot {
    constructor(panel) {
      this.panel = panel;
      this.data = JSON.parse(panel.querySelector("script").textContent);
      this.box = panel.querySelector(".plot");
      this.svg = this.box.querySelector("svg");
      this.lines = [...this.svg.querySelectorAll(".line")];
      this.axis = Object.keys(this.data.views)[0];
      this.log = this.data.log;
      this.seeds = false;
      this.hidden = { keys: new Set(), splits: new Set() };
      this.title = panel.querySelector("h4")?.textContent ?? panel.closest(".plate").querySelector("h3").textContent;
      this.at = null; // [line, point] that is shown
      this.ring = draw("circle", { r: 6, fill: "none", stroke: "currentColor", "stroke-width": 2, class: "gone" });
      this.svg.append(this.ring);
      this.tip = make("div", { class: "tip gone", "aria-hidden": "true" });
      this.box.append(this.tip);
      this.box.tabIndex = 0;
      this.box.setAttribute("role", "group");
      this.box.setAttribute("aria-roledescription", "figure");
      this.box.setAttribute("aria-label", `${this.title}. Left and right go along a line, up and down between lines.`);
      this.box.addEventListener("keydown", (event) => this.key(event));
      this.box.addEventListener("pointermove", (event) => this.point(event));
      for (const what of ["pointerleave", "blur"]) this.box.addEventListener(what, () => this.leave());
    }
    xs(line) { return this.data.xs[line.x[Object.keys(this.data.views).indexOf(this.axis)]]; }
    visible(i) {
      const line = this.data.lines[i];
      return !this.hidden.keys.has(line.k) && !this.hidden.splits.has(line.s);
    }
    scales() {
      const [left, right] = this.data.views[this.axis];
      const first = this.axis === Object.keys(this.data.views)[0], xlog = this.data.xlog && first;
      let [low, high] = this.data.ylim;
      if (this.log && low <= 0) {
        const some = this.data.lines.flatMap((line, i) => (this.visible(i) ? line.y : [])).filter((y) => y > 0);
        low = Math.min(high / 10, ...some) / 1.3;
      }
      const f = (value, log) => (log ? (value > 0 ? Math.log10(value) : NaN) : value);
      const span = (low, high, log, margin) => {
        const a = f(low, log), b = f(high, log);
        return [a - (log ? 0 : margin[0] * (b - a)), b + (log ? 0 : margin[1] * (b - a))];
      };
      const [x0, x1] = span(left, right, xlog, [0, MARGIN]), [y0, y1] = span(low, high, this.log, [MARGIN, 0]);
      return {
        x: (value) => LEFT + ((f(value, xlog) - x0) / (x1 - x0 || 1)) * (W - LEFT - RIGHT),
        y: (value) => H - BOTTOM + ((f(value, this.log) - y0) / (y1 - y0 || 1)) * (TOP - H + BOTTOM),
        xticks: first ? this.data.xticks : ticks(left, right),
        yticks: this.log === this.data.log ? this.data.yticks : this.log ? powers(low, high) : ticks(low, high),
      };
    }
    path(xs, ys, to) { // as svg.py writes it: tenths, each point from the one before
      let last = null, found = "";
      const join = (value) => (value < 0 ? "" : " ") + value / 10;
      xs.forEach((x, i) => {
        const px = to.x(x), py = ys[i] === null ? NaN : to.y(ys[i]);
        if (!Number.isFinite(px) || !Number.isFinite(py)) { last = null; return; }
        const at = [Math.round(px * 10), Math.round(py * 10)];
        found += last ? `l${(at[0] - last[0]) / 10}${join(at[1] - last[1])}` : `M${at[0] / 10}${join(at[1])}`;
        last = at;
      });
      return found || "M0 0";
    }
    redraw() {
      const to = this.scales(), axes = this.svg.querySelector(".axes");
      const bottom = H - BOTTOM, right = W - RIGHT, label = axes.querySelector("text[transform]").textContent;
      axes.replaceChildren();
      if (this.data.shade) {
        const [low, high] = this.data.shade.map((value) => Math.min(bottom, Math.max(TOP, to.y(value))));
        axes.append(draw("rect", { x: LEFT, y: round(high), width: right - LEFT, height: round(low - high), "fill-opacity": 0.1 }));
      }
      axes.append(draw("path", { d: `M${LEFT} ${TOP}V${bottom}H${right}`, fill: "none", stroke: "currentColor" }));
      for (const value of to.xticks) {
        const at = round(to.x(value));
        axes.append(draw("path", { d: `M${at} ${bottom}v4`, stroke: "currentColor" }));
        axes.append(draw("text", { x: at, y: bottom + 17, "text-anchor": "middle" }, count(value)));
      }
      for (const value of to.yticks) {
        const at = round(to.y(value));
        axes.append(draw("path", { d: `M${LEFT} ${at}H${right}`, stroke: "currentColor", "stroke-opacity": 0.2, "stroke-dasharray": "4 3" }));
        axes.append(draw("text", { x: LEFT - 7, y: at, dy: ".35em", "text-anchor": "end" }, show(value, this.log)));
      }
      const name = this.axis === "seconds" ? "wall time (s)" : this.axis === "x" ? this.data.xlabel : this.axis;
      axes.append(draw("text", { x: (LEFT + right) / 2, y: H - 8, "text-anchor": "middle" }, name));
      axes.append(draw("text", { transform: `translate(13 ${(TOP + bottom) / 2})rotate(-90)`, "text-anchor": "middle" }, label));
      this.data.lines.forEach((line, i) => {
        const group = this.lines[i], xs = this.xs(line);
        group.classList.toggle("gone", !this.visible(i));
        const beyond = line.b ?? line.y.map(() => 0), reached = line.y.map((y, k) => (beyond[k] > 0 ? null : y));
        group.querySelector(".curve").setAttribute("d", this.path(xs, reached, to));
        const band = group.querySelector(".band"), bars = group.querySelector(".bars");
        if (band) {
          band.setAttribute("d", `${this.path([...xs, ...[...xs].reverse()], [...line.hi, ...[...line.lo].reverse()], to)}z`);
          band.classList.toggle("gone", this.seeds);
        }
        if (bars)
          bars.setAttribute("d", xs.map((x, k) => [to.x(x), to.y(line.lo[k]), to.y(line.hi[k])])
            .filter((at) => at.every(Number.isFinite)).map(([x, low, high]) => `M${round(x)} ${round(low)}V${round(high)}`).join(""));
        // the order of svg.py: points with a marker, then those beyond
        const step = line.bars ? 1 : Math.max(1, Math.floor(line.y.length / 6)), places = [];
        for (let k = line.bars ? 0 : i % step; k < line.y.length; k += step) if (!beyond[k]) places.push(k);
        beyond.forEach((sign, k) => { if (sign) places.push(k); });
        const known = places.filter((k) => line.y[k] !== null);
        [...group.querySelectorAll("use")].forEach((mark, n) => {
          const x = to.x(xs[known[n]]), y = to.y(line.y[known[n]] ?? NaN), there = Number.isFinite(x) && Number.isFinite(y);
          mark.classList.toggle("gone", !there);
          if (there) { mark.setAttribute("x", round(x)); mark.setAttribute("y", round(y)); }
        });
        group.querySelectorAll(".seed").forEach((each) => each.remove());
      });
      if (this.seeds)
        for (const seed of this.data.seeds) {
          const xs = this.data.xs[seed.x];
          if (this.axis === Object.keys(this.data.views)[0])
            this.lines[seed.i].append(draw("path", { class: "seed", d: this.path(xs, seed.y, to), fill: "none", "stroke-width": 0.8, "stroke-opacity": 0.7 }));
        }
      this.leave();
    }
    leave() { this.ring.classList.add("gone"); this.tip.classList.add("gone"); }
    mark(i, k, aloud) {
      const line = this.data.lines[i], to = this.scales(), x = this.xs(line)[k], y = line.y[k];
      const px = to.x(x), py = y === null ? NaN : to.y(y);
      this.at = [i, k];
      const where = this.axis === "iterations" ? `iteration ${count(x)}` : `${(this.axis === "x" ? this.data.xlabel : this.axis).replace(/\s*\(.*\)/, "")} ${count(x)}`;
      const wide = line.lo && line.hi[k] > line.lo[k] ? ` (${line.lo[k]} to ${line.hi[k]})` : "";
      const text = `${line.t}: ${where}, ${y === null ? "no number" : y}${this.data.ylabel.includes("%") ? " %" : ""}${wide}`;
      this.tip.textContent = text;
      this.tip.classList.remove("gone");
      if (Number.isFinite(px) && Number.isFinite(py)) {
        const scale = this.svg.clientWidth / W;
        this.ring.setAttribute("cx", px);
        this.ring.setAttribute("cy", py);
        this.ring.classList.remove("gone");
        const left = Math.min(px * scale + 10, this.box.clientWidth - this.tip.offsetWidth);
        this.tip.style.transform = `translate(${Math.max(0, left)}px, ${Math.max(0, py * scale - this.tip.offsetHeight - 8)}px)`;
      }
      if (aloud) said.textContent = text;
    }
    point(event) {
      const box = this.svg.getBoundingClientRect(), to = this.scales();
      const x = ((event.clientX - box.left) / box.width) * W, y = ((event.clientY - box.top) / box.height) * H;
      let best = null, least = 40 ** 2;
      this.data.lines.forEach((line, i) => {
        if (!this.visible(i)) return;
        this.xs(line).forEach((at, k) => {
          if (line.y[k] === null) return;
          const far = (to.x(at) - x) ** 2 + (to.y(line.y[k]) - y) ** 2;
          if (far < least) { least = far; best = [i, k]; }
        });
      });
      if (best) this.mark(...best, false); else this.leave();
    }
    key(event) {
      const moves = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -Infinity], End: [0, Infinity] };
      if (event.key === "Escape") { this.leave(); return; }
      if (!(event.key in moves)) return;
      event.preventDefault();
      const shown = this.data.lines.map((_, i) => i).filter((i) => this.visible(i));
      if (!shown.length) { said.textContent = "No line is shown."; return; }
      const [between, along] = moves[event.key];
      if (!this.at || !shown.includes(this.at[0])) { this.mark(shown[0], 0, true); return; }
      let [i, k] = this.at;
      const here = this.xs(this.data.lines[i])[k];
      i = shown[Math.min(shown.length - 1, Math.max(0, shown.indexOf(i) + between))];
      const xs = this.xs(this.data.lines[i]);
      if (between) k = xs.reduce((best, x, n) => (Math.abs(x - here) < Math.abs(xs[best] - here) ? n : best), 0);
      k = Math.min(xs.length - 1, Math.max(0, k + along));
      this.mark(i, k, true);
    }
    save() { // a picture that looks the same outside of this page: what is hidden is left out
      const copy = this.svg.cloneNode(true);
      copy.querySelectorAll(".gone").forEach((each) => each.remove());
      copy.removeAttribute("aria-hidden");
      copy.setAttribute("width", W * 2);
      copy.setAttribute("height", H * 2);
      copy.setAttribute("color", "#1a1a1a");
      copy.setAttribute("font-family", "system-ui,sans-serif");
      copy.setAttribute("font-size", 12);
      copy.prepend(draw("rect", { width: W, height: H, fill: "#fff" }));
      return new XMLSerializer().serializeToString(copy);
    }
  }

  const offer = (name, blob) => {
    const link = make("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  const asCsv = (plots) => {
    const rows = [["panel", "line", "axis", "x", "y", "low", "high"]];
    for (const plot of plots)
      plot.data.lines.forEach((line) =>
        plot.xs(line).forEach((x, k) => rows.push([plot.title, line.t, plot.axis, x, line.y[k] ?? "", (line.lo ?? line.y)[k] ?? "", (line.hi ?? line.y)[k] ?? ""])));
    const cell = (value) => (typeof value === "number" ? value : `"${String(value).replace(/^([=+\-@\t\r])/, "'$1").replaceAll('"', '""')}"`);
    return rows.map((row) => row.map(cell).join(",")).join("\n") + "\n";
  };
  const asPng = (name, picture) => {
    const image = new Image();
    image.addEventListener("load", () => {
      const canvas = make("canvas", { width: W * 4, height: H * 4 });
      canvas.getContext("2d").drawImage(image, 0, 0, W * 4, H * 4);
      canvas.toBlob((blob) => offer(name, blob));
      URL.revokeObjectURL(image.src);
    });
    image.src = URL.createObjectURL(new Blob([picture], { type: "image/svg+xml" }));
  };

  for (const plate of document.querySelectorAll(".plate")) {
    const plots = [...plate.querySelectorAll(".panel")].map((panel) => new Plot(panel));
    const bar = plate.querySelector(".controls"), name = plate.dataset.name;
    const all = (act) => { for (const plot of plots) { act(plot); plot.redraw(); } };
    const tick = (text, on, act) => {
      const label = make("label"), box = make("input", { type: "checkbox" });
      box.checked = on;
      box.addEventListener("change", () => act(box.checked));
      label.append(box, text);
      bar.append(label);
    };
    const axes = bar.dataset.axes.split(",").filter(Boolean);
    if (axes.length > 1) {
      const label = make("label", {}, "x: "), choice = make("select");
      for (const axis of axes) choice.append(make("option", { value: axis }, axis));
      choice.addEventListener("change", () => all((plot) => { plot.axis = choice.value; }));
      label.append(choice);
      bar.append(label);
    }
    for (const split of bar.dataset.splits.split("|").filter(Boolean))
      tick(split, true, (on) => all((plot) => plot.hidden.splits[on ? "delete" : "add"](split)));
    if (bar.dataset.seeds === "1") tick("each seed", false, (on) => all((plot) => { plot.seeds = on; }));
    if (plots.every((plot) => !plot.data.log)) tick("logarithmic", false, (on) => all((plot) => { plot.log = on; }));
    const button = (text, act) => {
      const made = make("button", { type: "button", "aria-label": `${text} of ${plate.querySelector("h3").textContent}` }, text);
      made.addEventListener("click", act);
      bar.append(made);
    };
    const each = (act) => plots.forEach((plot, i) => act(plot, plots.length > 1 ? `${name}-${i + 1}` : name));
    button("SVG", () => each((plot, called) => offer(`${called}.svg`, new Blob([plot.save()], { type: "image/svg+xml" }))));
    button("PNG", () => each((plot, called) => asPng(`${called}.png`, plot.save())));
    button("CSV", () => offer(`${name}.csv`, new Blob([asCsv(plots)], { type: "text/csv" })));
    bar.hidden = false;
    for (const plot of plots)
      for (const item of plot.panel.querySelectorAll(".legend li")) {
        const button = make("button", { type: "button", "aria-pressed": "true" });
        button.append(...item.childNodes);
        item.append(button);
        button.addEventListener("click", () => {
          const on = button.getAttribute("aria-pressed") === "false";
          button.setAttribute("aria-pressed", on);
          plot.hidden.keys[on ? "delete" : "add"](item.dataset.key);
          plot.redraw();
        });
      }
  }

  // Tables: a click on a head sorts, numbers by size.
  const value = (row, column) => {
    const text = row.cells[column].textContent.trim(), number = parseFloat(text.replaceAll(",", "").replace(/^[~<>]/, ""));
    return [Number.isNaN(number) ? null : number, text];
  };
  for (const table of document.querySelectorAll(".sortable")) {
    const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = make("button", { type: "button" });
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down > 0 ? "ascending" : "descending");
        const rows = [...body.rows].map((row) => [value(row, column), row]);
        rows.sort(([a], [b]) => {
          if (a[0] !== null && b[0] !== null) return down * (a[0] - b[0]);
          if (a[0] !== null || b[0] !== null) return a[0] !== null ? -1 : 1; // what has no number comes last
          return down * a[1].localeCompare(b[1], "en", { numeric: true });
        });
        body.append(...rows.map(([, row]) => row));
      });
    });
  }
  for (const input of document.querySelectorAll("[data-filter]")) {
    const rows = [...document.querySelectorAll(`#${input.dataset.filter} tbody tr`)];
    const box = input.closest(".filter"), told = box.querySelector("[role=status]");
    box.hidden = false;
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/);
      let left = 0;
      for (const row of rows) {
        const text = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        left += !row.hidden;
      }
      told.textContent = `${left} of ${rows.length}`;
    });
  }

  const again = Number(document.body.dataset.reload);
  if (again) {
    const told = document.querySelector("#reload"), stop = make("button", { type: "button" }, "stop");
    told.append(`Read anew every ${again} s. `, stop);
    const timer = setTimeout(() => location.reload(), again * 1000);
    stop.addEventListener("click", () => { clearTimeout(timer); told.textContent = "No longer read anew."; });
  }
})();
