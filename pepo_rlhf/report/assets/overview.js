// The run, or two runs over each other: what was run, its curves, and its evaluations.

// Curves from metrics.jsonl (docs/metrics.md). With two runs a chart shows the first field of each.
const CURVES = [
  { title: "Reward", fields: { reward: "mean" } },
  { verifier: "samples" }, // of each run, with its held-out score
  { title: "Response length", unit: "tokens", fields: { response_length: "mean" } },
  { title: "Entropy", unit: "nats", fields: { entropy: "mean" } },
  { title: "KL to the reference", unit: "nats", fields: { kl: "mean" } },
  { title: "Token weight", fields: { weight_p50: "median" }, band: ["weight_p20", "weight_p80", "p20 to p80"], reference: 1 },
  {
    title: "Time of a step",
    unit: "s",
    fields: {
      time_step: "whole step",
      time_generation: "generation",
      time_experience: "experience",
      time_update: "update",
      time_sync: "weight sync",
    },
  },
];

const LETTERS = ["A", "B"]; // what two runs are called in legends

const FACTS = {
  Method: "pepo.method",
  alpha: "pepo.alpha",
  temperature: "pepo.temperature",
  schedule: "pepo.schedule",
  Model: "actor.model_name_or_path",
  Data: "data.prompt_dataset",
  Estimator: "algo.advantage.estimator",
  "Prompts a step": "rollout.batch_size",
  "Samples a prompt": "rollout.n_samples_per_prompt",
  "Learning rate": "actor.adam.lr",
};

function showOverview(node, overview, hasTokens) {
  const cursor = new Cursor();
  const charts = element("div", { class: "charts" });
  const { runs } = overview;
  for (const curve of CURVES) charts.append(new Chart(chartParts(curve, runs), cursor).node);
  charts.append(anyMetric(runs, cursor));
  const training = section("Training", charts);
  if (runs.length > 1) {
    node.append(
      pairSummary(runs),
      training,
      section(`Held-out ${overview.runs[0].verifier}, B minus A`, differences(overview, cursor)),
      ...runs.map((run, index) => section(`Evaluations of ${LETTERS[index]}`, evaluations(run, index))),
      settingsSection("Settings that differ", ["", ...LETTERS], overview.settings, true),
    );
  } else {
    const [run] = runs;
    const settings = settingsSection("All settings", ["", "value"], Object.entries(run.settings), false);
    node.append(runSummary(run), ...(hasTokens ? [] : [howToRecord()]), training, section("Evaluations", evaluations(run, 0)), settings);
  }
}

function section(title, ...content) {
  return element("section", {}, element("h2", {}, title), ...content);
}

function howToRecord() {
  const text = "This run has no token records, so there are no prompts and heat maps to show. Record every tenth step with ";
  return element("p", { class: "notice" }, text, element("code", {}, "--logger.tokens_every 10"), ".");
}

function runSummary(run) {
  const minutes = run.steps.reduce((sum, step) => sum + (step.time_step ?? 0), 0) / 60;
  const facts = [["Steps", `${run.steps.length} in ${minutes.toFixed(1)} min`]];
  for (const [label, name] of Object.entries(FACTS)) if (name in run.settings) facts.push([label, run.settings[name]]);
  return element("dl", { class: "facts" }, ...facts.map(([label, value]) => fact(label, value)));
}

function fact(label, value) {
  return element("div", {}, element("dt", {}, label), element("dd", { title: value }, value));
}

function pairSummary(runs) {
  const items = runs.map((run, index) =>
    element("li", {}, element("span", { class: `swatch line colour-${index + 1}` }), element("b", {}, `${LETTERS[index]} `), run.name, ` · ${run.steps.length} steps`),
  );
  return element("ul", { class: "legend runs" }, ...items);
}

// A verifier as a title.
function named(verifier) {
  return verifier[0].toUpperCase() + verifier.slice(1);
}

function points(records, ...fields) {
  const there = records.filter((record) => fields[0] in record);
  return there.map((record) => [record.global_step, ...fields.map((field) => record[field] ?? null)]);
}

function chartParts({ title, unit, fields, band, verifier, reference }, runs) {
  const chart = { title: verifier ? named(runs[0].verifier) : title, unit, reference: reference ?? null, lines: [], bands: [], marks: [] };
  const several = runs.length > 1;
  runs.forEach((run, index) => {
    const labelled = (text) => (several ? `${LETTERS[index]} ${text}` : text);
    Object.entries(verifier ? { [run.verifier]: verifier } : fields).forEach(([field, label], place) => {
      if (several && place > 0) return;
      const colour = several ? index + 1 : place + 1;
      chart.lines.push({ label: labelled(label), colour, points: points(run.steps, field) });
    });
    const colour = index + 1;
    if (band) chart.bands.push({ label: labelled(band[2]), colour, points: points(run.steps, band[0], band[1]) });
    if (verifier) {
      const score = `eval_${run.verifier}`;
      const marked = points(run.evaluations, score, `${score}_low`, `${score}_high`);
      const shift = several ? 6 * index - 3 : 0;
      chart.marks.push({ label: labelled("held-out"), colour: several ? colour : 2, points: marked, shift });
    }
  });
  for (const kind of ["lines", "bands", "marks"]) chart[kind] = chart[kind].filter((part) => part.points.length);
  return chart;
}

// A chart of whatever field of metrics.jsonl is chosen.
function anyMetric(runs, cursor) {
  const fields = [...new Set(runs.flatMap((run) => run.steps.flatMap(Object.keys)))].sort();
  const isNumber = (field) => runs.some((run) => run.steps.some((step) => typeof step[field] === "number"));
  const names = fields.filter((field) => field !== "global_step" && isNumber(field));
  const select = element("select", { "aria-label": "Any metric" }, ...names.map((name) => element("option", {}, name)));
  select.value = names.includes("rollout_trainer_gap") ? "rollout_trainer_gap" : names[0];
  const holder = element("div", { class: "chosen" });
  let chart = null;
  const draw = () => {
    cursor.charts.delete(chart);
    const parts = chartParts({ title: select.value, fields: { [select.value]: "value" } }, runs);
    chart = new Chart({ ...parts, control: select }, cursor);
    holder.replaceChildren(chart.node);
  };
  select.addEventListener("change", () => {
    draw();
    select.focus();
  });
  draw();
  return holder;
}

function evaluations(run, index) {
  const score = `eval_${run.verifier}`;
  const rows = run.evaluations.filter((record) => "eval_reward" in record || score in record);
  if (!rows.length) return element("p", { class: "empty" }, "None: --eval.dataset names held-out data.");
  const columns = {
    "after step": (record) => record.global_step,
    [run.verifier]: (record) => number(record[score]),
    "95% interval": (record) => interval(record[`${score}_low`], record[`${score}_high`]),
    "": (record) => intervalBar(record[score], record[`${score}_low`], record[`${score}_high`], 0, 1, index + 1),
    reward: (record) => number(record.eval_reward),
    format: (record) => number(record.eval_format),
    "length, tokens": (record) => number(record.eval_response_length_mean),
    truncated: (record) => number(record.eval_truncated_rate),
    prompts: (record) => number(record.eval_num_prompts),
    responses: (record) => number(record.eval_num_samples),
  };
  return table(Object.keys(columns), rows.map((record) => Object.values(columns).map((cell) => cell(record))));
}

function table(heads, rows) {
  const row = (cells, name) => element("tr", {}, ...cells.map((cell) => element(name, {}, cell instanceof Node ? cell : String(cell))));
  const body = element("tbody", {}, ...rows.map((cells) => row(cells, "td")));
  return element("div", { class: "scroll" }, element("table", {}, element("thead", {}, row(heads, "th")), body));
}

// A value and its interval on an axis from `from` to `to`, with a line at 0 if that lies inside.
function intervalBar(value, low, high, from, to, colour) {
  if (value === undefined || value === null) return "–";
  const width = 160;
  const x = (position) => 4 + ((position - from) / (to - from)) * (width - 8);
  return svg(
    "svg",
    { class: `interval colour-${colour}`, width, height: 16, role: "img", "aria-label": `${number(value)} ${interval(low, high)}` },
    svg("path", { class: "axis", d: `M${x(from)} 8H${x(to)}` }),
    from < 0 ? svg("path", { class: "zero", d: `M${x(0)} 1V15` }) : null,
    low === undefined ? null : svg("path", { class: "whisker", d: `M${x(low)} 8H${x(high)}` }),
    svg("path", { class: "value", d: `M${x(value)} 2V14` }),
  );
}

function differences({ differences: rows }, cursor) {
  if (!rows.length) return element("p", { class: "empty" }, "The runs have no evaluation after the same step.");
  const marks = [{ label: "B minus A", colour: 3, points: rows.map((row) => [row.step, row.difference, row.low, row.high]) }];
  const chart = new Chart({ title: "Difference of held-out scores", marks, reference: 0 }, cursor);
  const extent = Math.max(...rows.flatMap((row) => [Math.abs(row.low), Math.abs(row.high)]), 0.01);
  const heads = ["after step", ...LETTERS, "difference", "95% interval", ""];
  const cells = rows.map((row) => [
    row.step,
    number(row.a),
    number(row.b),
    number(row.difference),
    interval(row.low, row.high),
    intervalBar(row.difference, row.low, row.high, -extent, extent, 3),
  ]);
  const note =
    "Interval: from the two runs' own (MOVER), their errors taken as independent; for runs evaluated on the same prompts " +
    "it is rather too wide. One seed each says how these two runs compare, not how two methods do.";
  return element("div", { class: "difference" }, chart.node, element("div", {}, table(heads, cells), element("p", { class: "note" }, note)));
}

function settingsSection(title, heads, rows, open) {
  const cells = rows.map((row) => row.map((value) => (value === null ? "not set" : value)));
  return element("details", { class: "settings", open }, element("summary", {}, title), table(heads, cells));
}
