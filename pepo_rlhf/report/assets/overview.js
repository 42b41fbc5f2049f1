// The run, or two runs over each other: what was run, one row of curves, and its evaluations.

const LETTERS = ["A", "B"]; // what two runs are called in legends

const NEARLY_EVEN = 1.1; // p80/p20 of token weights
const RUNNING = 5; // steps that a running mean is over

const FACTS = {
  Method: "pepo.method",
  Schedule: "pepo.schedule",
  Model: "actor.model_name_or_path",
  Data: "data.prompt_dataset",
  Estimator: "algo.advantage.estimator",
  "Prompts a step": "rollout.batch_size",
  "Samples a prompt": "rollout.n_samples_per_prompt",
  "Learning rate": "actor.adam.lr",
};

function showOverview(node, overview, hasTokens) {
  const { runs } = overview;
  const training = section("Training", element("div", { class: "charts" }, ...curves(runs).map(chart)));
  if (runs.length > 1) {
    node.append(
      pairSummary(runs),
      training,
      section(`Held-out ${runs[0].verifier}, B minus A`, differences(overview.differences)),
      ...runs.map((run, index) => section(`Evaluations of ${LETTERS[index]}`, evaluations(run, index))),
      settingsSection("Settings that differ", ["", ...LETTERS], overview.settings, true),
    );
  } else {
    const [run] = runs;
    const settings = settingsSection("All settings", ["", "value"], Object.entries(run.settings), false);
    node.append(runSummary(run), howEven(run), ...(hasTokens ? [] : [howToRecord()]), training, section("Evaluations", evaluations(run, 0)), settings);
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
  const ofMethod = Object.entries(run.settings).filter(([name]) => name.startsWith("pepo.settings."));
  facts.splice(2, 0, ...ofMethod.map(([name, value]) => [name.slice("pepo.settings.".length), value]));
  return element("dl", { class: "facts" }, ...facts.map(([label, value]) => fact(label, value)));
}

function fact(label, value) {
  return element("div", {}, element("dt", {}, label), element("dd", { title: value }, value));
}

// How far the weights of the last quarter of the steps are from uniform, as the ratio of their percentiles.
function howEven(run) {
  const steps = run.steps.slice(-Math.ceil(run.steps.length / 4)).filter((step) => step.weight_p20 > 0);
  if (!steps.length) return "";
  const ratio = mean(steps.map((step) => step.weight_p80 / step.weight_p20));
  const verdict = ratio < NEARLY_EVEN ? ": nearly GRPO" : "";
  return element("p", { class: "note" }, `Token weights in the last quarter: p80/p20 ${number(ratio, 3)}${verdict}.`);
}

function pairSummary(runs) {
  const items = runs.map((run, index) =>
    element("li", {}, element("span", { class: `swatch line colour-${index + 1}` }), element("b", {}, `${LETTERS[index]} `), run.name, ` · ${run.steps.length} steps`),
  );
  return element("ul", { class: "legend runs" }, ...items);
}

// The charts: reward, the score that the run is judged by, and what the tokens weigh.
function curves(runs) {
  const several = runs.length > 1;
  const parts = (text, records, fields, colour) =>
    runs
      .map((run, index) => ({
        label: several ? `${LETTERS[index]} ${text}` : text,
        colour: several ? index + 1 : colour,
        points: points(records(run), fields(run)),
      }))
      .filter((part) => part.points.length);
  const steps = (run) => run.steps;
  // Every step, pale, and the running mean over it.
  const smoothed = (text, field) => {
    const lines = parts(text, steps, field, 1);
    return [...lines.map((line) => ({ ...line, pale: true })), ...lines.map((line) => ({ ...line, label: `${line.label}, mean of ${RUNNING}`, points: runningMean(line.points) }))];
  };
  const score = (run) => `eval_${run.verifier}`;
  const judged = {
    title: runs[0].verifier,
    lines: smoothed("samples", (run) => [run.verifier]),
    marks: parts("held-out", (run) => run.evaluations, (run) => [score(run), `${score(run)}_low`, `${score(run)}_high`], 2),
  };
  return [
    { title: "Reward", lines: smoothed("samples", () => ["reward"]) },
    ...(judged.title === "reward" ? [] : [judged]),
    {
      title: "Token weight",
      lines: parts("median", steps, () => ["weight_p50"], 1),
      bands: parts("p20 to p80", steps, () => ["weight_p20", "weight_p80"], 1),
      reference: 1,
    },
    { title: "Groups of equal rewards", lines: smoothed("share", () => ["zero_std_groups"]) },
    { title: "Gradient norm", lines: smoothed("policy", () => ["actor_grad_norm"]) },
  ];
}

function runningMean(points) {
  return points.map(([step], end) => [step, mean(points.slice(Math.max(0, end + 1 - RUNNING), end + 1).map((point) => point[1]))]);
}

// Step and fields of the records that have numbers in all of them.
function points(records, fields) {
  return records.map((record) => [record.global_step, ...fields.map((field) => record[field])]).filter((point) => point.every(Number.isFinite));
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

function differences(rows) {
  if (!rows.length) return element("p", { class: "empty" }, "The runs have no evaluation after the same step.");
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
  return element("div", { class: "difference" }, table(heads, cells), element("p", { class: "note" }, note));
}

function settingsSection(title, heads, rows, open) {
  const cells = rows.map((row) => row.map((value) => (value === null ? "not set" : value)));
  return element("details", { class: "settings", open }, element("summary", {}, title), table(heads, cells));
}
