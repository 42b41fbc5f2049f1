// A line chart over training steps, as an image that scales with its column. TensorBoard, wandb and trackio draw every
// metric and read values; the report shows what a run comes to.

const CHART = { width: 400, height: 160, left: 46, right: 10, top: 8, bottom: 20 };

// Round numbers within low..high, about `count` of them, no closer than `smallest`.
function ticks(low, high, count, smallest = 0) {
  const rough = Math.max((high - low) / count, smallest, Number.MIN_VALUE);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(i * step);
  return found;
}

// A part of a chart has a `label`, a `colour` (1 to 3) and `points`:
//   lines [step, value] (`pale` behind another), bands [step, low, high], marks (points with an interval) [step, value, low, high].
// Points without numbers are left out. `reference` is a value that a dashed line stands at.
function chart({ title, lines = [], bands = [], marks = [], reference = null }) {
  const parts = [...lines, ...marks, ...bands];
  const figure = element("figure", { class: "chart" }, element("h3", {}, title));
  if (!parts.length) {
    figure.append(element("p", { class: "empty" }, "not recorded"));
    return figure;
  }
  const { x, y, axes } = scales(parts, reference);
  const path = (points) => points.map((point) => `${x(point[0]).toFixed(1)} ${y(point[1]).toFixed(1)}`);
  const image = svg("svg", { viewBox: `0 0 ${CHART.width} ${CHART.height}`, role: "img", "aria-label": `${title} over training steps` }, axes);
  for (const { colour, points } of bands) {
    const lower = path(points.map(([step, , high]) => [step, high])).reverse();
    image.append(svg("path", { class: `band colour-${colour}`, d: `M${[...path(points), ...lower].join("L")}Z` }));
  }
  for (const { colour, points, pale } of lines) {
    const start = path(points)[0]; // twice, so that a single point is a dot
    image.append(svg("path", { class: `line ${pale ? "pale " : ""}colour-${colour}`, d: `M${[start, ...path(points)].join("L")}` }));
  }
  for (const { colour, points } of marks) {
    for (const [step, value, low, high] of points) {
      const whisker = svg("path", { d: `M${x(step)} ${y(low)}V${y(high)}` });
      image.append(svg("g", { class: `mark colour-${colour}` }, whisker, svg("circle", { cx: x(step), cy: y(value), r: 3.5 })));
    }
  }
  const legend = [...lines.map((part) => ["line", part]), ...marks.map((part) => ["mark", part]), ...bands.map((part) => ["band", part])];
  figure.append(image, element("ul", { class: "legend" }, ...legend.map(([kind, part]) => legendItem(kind, part))), numbersOf(parts));
  return figure;
}

// What is drawn as a table, built when it is opened.
function numbersOf(parts) {
  const details = element("details", {}, element("summary", {}, "numbers"));
  const build = () => {
    const steps = [...new Set(parts.flatMap((part) => part.points.map(([step]) => step)))].sort((a, b) => a - b);
    const values = parts.map((part) => new Map(part.points.map(([step, ...rest]) => [step, rest.map((value) => number(value)).join(" ")])));
    details.append(table(["step", ...parts.map((part) => part.label)], steps.map((step) => [step, ...values.map((of) => of.get(step) ?? "–")])));
  };
  details.addEventListener("toggle", build, { once: true });
  return details;
}

// Functions from step and value to places, and the axes.
function scales(parts, reference) {
  const steps = parts.flatMap((part) => part.points.map((point) => point[0]));
  const values = parts.flatMap((part) => part.points.flatMap((point) => point.slice(1)));
  if (reference !== null) values.push(reference);
  const least = (numbers) => numbers.reduce((a, b) => Math.min(a, b));
  const most = (numbers) => numbers.reduce((a, b) => Math.max(a, b));
  const [first, last] = [least(steps), Math.max(most(steps), least(steps) + 1)];
  const margin = (most(values) - least(values) || Math.abs(most(values)) || 1) * 0.06;
  const [low, high] = [least(values) - margin, most(values) + margin];
  const [right, bottom] = [CHART.width - CHART.right, CHART.height - CHART.bottom];
  const x = (step) => CHART.left + ((step - first) / (last - first)) * (right - CHART.left);
  const y = (value) => CHART.top + ((high - value) / (high - low)) * (bottom - CHART.top);
  const axes = svg("g", { class: "axes" });
  for (const value of ticks(low, high, 4)) {
    axes.append(svg("path", { d: `M${CHART.left} ${y(value)}H${right}` }));
    axes.append(svg("text", { x: CHART.left - 6, y: y(value) + 3.5, "text-anchor": "end" }, number(value)));
  }
  for (const step of ticks(first, last, 5, 1)) {
    axes.append(svg("text", { x: x(step), y: CHART.height - 5, "text-anchor": "middle" }, number(step)));
  }
  if (reference !== null) axes.append(svg("path", { class: "reference", d: `M${CHART.left} ${y(reference)}H${right}` }));
  return { x, y, axes };
}

// The part's name and its last values.
function legendItem(kind, { label, colour, points, pale }) {
  const [, value, low, high] = points.at(-1);
  const text = { line: number(value), mark: `${number(value)} ${interval(low, high)}`, band: `${number(value)} to ${number(low)}` }[kind];
  return element("li", {}, element("span", { class: `swatch ${kind}${pale ? " pale" : ""} colour-${colour}` }), `${label} `, element("b", {}, text));
}
