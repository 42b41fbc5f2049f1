// Line charts over training steps. All charts of a page share a cursor: the step under the pointer, whose values stand
// in every chart's legend.

const CHART_HEIGHT = 160;
const PLOT = { left: 46, right: 10, top: 8, bottom: 20 };

// The step that all charts point at; null without a pointer, when the legends show the last values.
class Cursor {
  step = null;
  charts = new Set();

  move(step) {
    if (step === this.step) return;
    this.step = step;
    for (const chart of this.charts) chart.point(step);
  }
}

// Positions of about `count` round numbers within low..high.
function ticks(low, high, count, smallest = 0) {
  const rough = Math.max((high - low) / count, smallest, Number.MIN_VALUE);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, smallest ? 5 : 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(i * step);
  return found;
}

function tickLabel(value) {
  const compact = Math.abs(value) >= 10000;
  return compact ? Intl.NumberFormat("en", { notation: "compact" }).format(value) : number(value);
}

// A part of a chart has a `label`, a `colour` (1 to 6) and `points`:
//   lines [step, value], bands [step, low, high], marks (points with an interval) [step, value, low, high].
// A value may be null: lines break there. Marks may have a `shift`, pixels to the side of their step.
class Chart {
  constructor({ title, unit = "", lines = [], bands = [], marks = [], reference = null, control = null }, cursor) {
    Object.assign(this, { lines, bands, marks, reference, cursor });
    this.parts = [...lines, ...marks, ...bands];
    this.steps = [...new Set(this.parts.flatMap((part) => part.points.map((point) => point[0])))].sort((a, b) => a - b);
    this.legend = element("ul", { class: "legend" });
    this.plot = element("div", { class: "plot", tabindex: this.steps.length ? 0 : null, role: "img" });
    this.plot.setAttribute("aria-label", `${title} over training steps; left and right arrow keys read values`);
    const heading = control ?? element("h3", {}, title, unit && element("small", {}, unit));
    this.stepLabel = element("span", { class: "at-step" });
    this.node = element("figure", { class: "chart" }, element("header", {}, heading, this.stepLabel), this.plot, this.legend);
    if (this.steps.length) this.listen();
    else this.plot.append(element("p", { class: "empty" }, "not recorded"));
  }

  listen() {
    new ResizeObserver(() => this.draw()).observe(this.plot);
    this.cursor.charts.add(this);
    this.plot.addEventListener("pointermove", (event) => this.cursor.move(this.stepAt(event.offsetX)));
    this.plot.addEventListener("pointerleave", () => this.cursor.move(null));
    this.plot.addEventListener("blur", () => this.cursor.move(null));
    this.plot.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!move) return;
      event.preventDefault();
      const at = this.cursor.step === null ? this.steps.length - 1 : this.steps.indexOf(this.nearest(this.cursor.step));
      this.cursor.move(this.steps[clamp(at + move, 0, this.steps.length - 1)]);
    });
  }

  nearest(step) {
    return this.steps.reduce((best, one) => (Math.abs(one - step) < Math.abs(best - step) ? one : best));
  }

  stepAt(pixels) {
    const share = (pixels - PLOT.left) / (this.width - PLOT.left - PLOT.right);
    return this.nearest(this.domain[0] + share * (this.domain[1] - this.domain[0]));
  }

  draw() {
    this.width = this.plot.clientWidth;
    if (!this.width) return; // its view is hidden
    const values = this.parts.flatMap((part) => part.points.flatMap((point) => point.slice(1))).filter((v) => v !== null);
    if (this.reference !== null) values.push(this.reference);
    let low = values.reduce((a, b) => Math.min(a, b), Infinity);
    let high = values.reduce((a, b) => Math.max(a, b), -Infinity);
    const margin = (high - low || Math.abs(high) || 1) * 0.06;
    [low, high] = [low - margin, high + margin];
    const [first, last] = [this.steps[0], this.steps.at(-1)];
    this.domain = first === last ? [first - 1, last + 1] : [first, last];
    const across = (this.width - PLOT.left - PLOT.right) / (this.domain[1] - this.domain[0]);
    this.x = (step) => PLOT.left + (step - this.domain[0]) * across;
    const down = (CHART_HEIGHT - PLOT.top - PLOT.bottom) / (high - low);
    this.y = (value) => PLOT.top + (high - value) * down;
    this.pointer = svg("g", { class: "pointer" });
    const size = { width: this.width, height: CHART_HEIGHT, "aria-hidden": "true" };
    this.plot.replaceChildren(svg("svg", size, this.axes(low, high), ...this.shapes(), this.pointer));
    this.point(this.cursor.step);
  }

  axes(low, high) {
    const right = this.width - PLOT.right;
    const group = svg("g", { class: "axes" });
    for (const value of ticks(low, high, 4)) {
      group.append(svg("path", { d: `M${PLOT.left} ${this.y(value)}H${right}` }));
      group.append(svg("text", { x: PLOT.left - 6, y: this.y(value) + 3.5, "text-anchor": "end" }, tickLabel(value)));
    }
    for (const step of ticks(...this.domain, Math.max(2, this.width / 70), 1)) {
      group.append(svg("text", { x: this.x(step), y: CHART_HEIGHT - 5, "text-anchor": "middle" }, tickLabel(step)));
    }
    if (this.reference !== null) {
      group.append(svg("path", { class: "reference", d: `M${PLOT.left} ${this.y(this.reference)}H${right}` }));
    }
    return group;
  }

  shapes() {
    return [
      ...this.bands.map((part) => svg("path", { class: `band colour-${part.colour}`, d: this.bandPath(part.points) })),
      ...this.lines.map((part) => svg("path", { class: `line colour-${part.colour}`, d: this.linePath(part.points) })),
      ...this.marks.flatMap((part) => part.points.map((point) => this.mark(part, point))),
    ];
  }

  linePath(points) {
    let path = "";
    let broken = true;
    for (const [step, value] of points) {
      if (value !== null) {
        const place = `${this.x(step).toFixed(1)} ${this.y(value).toFixed(1)}`;
        path += broken ? `M${place}L${place}` : `L${place}`;
      }
      broken = value === null;
    }
    return path;
  }

  bandPath(points) {
    const there = points.filter(([, low, high]) => low !== null && high !== null);
    const upper = there.map(([step, , high]) => `${this.x(step).toFixed(1)} ${this.y(high).toFixed(1)}`);
    const lower = there.map(([step, low]) => `${this.x(step).toFixed(1)} ${this.y(low).toFixed(1)}`).reverse();
    return there.length ? `M${[...upper, ...lower].join("L")}Z` : "";
  }

  mark(part, [step, value, low, high]) {
    const x = this.x(step) + (part.shift ?? 0);
    const whisker = low === null ? null : svg("path", { d: `M${x} ${this.y(low)}V${this.y(high)}` });
    const dot = svg("circle", { cx: x, cy: this.y(value), r: 3.5 });
    return svg("g", { class: `mark colour-${part.colour}` }, whisker, dot);
  }

  // Crosshair at the step, and the values there, or the last ones, in the legend.
  point(step) {
    this.legend.replaceChildren(...this.parts.map((part) => this.legendItem(part, step)));
    const shown = step === null ? null : this.nearest(step);
    this.stepLabel.textContent = shown === null ? "" : `step ${shown}`;
    if (!this.pointer) return;
    this.pointer.replaceChildren();
    if (shown === null) return;
    this.pointer.append(svg("path", { d: `M${this.x(shown)} ${PLOT.top}V${CHART_HEIGHT - PLOT.bottom}` }));
    for (const part of this.lines) {
      const value = part.points.find((point) => point[0] === shown)?.[1] ?? null;
      if (value !== null) {
        this.pointer.append(svg("circle", { class: `colour-${part.colour}`, cx: this.x(shown), cy: this.y(value), r: 3 }));
      }
    }
  }

  legendItem(part, step) {
    const shown = step === null ? null : this.nearest(step);
    const point = shown === null ? part.points.at(-1) : part.points.find((one) => one[0] === shown);
    const kind = this.lines.includes(part) ? "line" : this.marks.includes(part) ? "mark" : "band";
    const swatch = element("span", { class: `swatch ${kind} colour-${part.colour}` });
    return element("li", {}, swatch, part.label, " ", element("b", {}, point ? describe(kind, point) : "–"));
  }
}

function describe(kind, [, ...values]) {
  if (kind === "band") return `${number(values[0])} to ${number(values[1])}`;
  const [value, low, high] = values;
  return kind === "mark" && low !== null ? `${number(value)} ${interval(low, high)}` : number(value);
}
