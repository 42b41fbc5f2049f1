// The table of prompts: filtered, sorted, and only the rows in sight built.

const ROW_HEIGHT = 40;
const SPARE_ROWS = 8;

// Choices of the filter for right and wrong, by the names of their options.
const RIGHT = {
  "": () => true,
  right: (group) => group.responses.some((response) => response.right),
  wrong: (group) => group.responses.some((response) => !response.right),
  both: (group) => RIGHT.right(group) && RIGHT.wrong(group),
};

const COLUMNS = [
  { head: "Step", key: "step", className: "number" },
  { head: "Task", key: "task", className: "task" },
  { head: "Prompt", key: "excerpt", className: "prompt" },
  { head: "Label", key: "label", className: "label" },
  { head: "Reward", key: "reward", className: "number", title: "mean over the group's responses" },
  { head: "Spread", key: "rewardSpread", className: "each", title: "reward of each response; sorts by highest minus lowest" },
  { head: "Tokens", key: "length", className: "number", title: "mean length of the responses" },
  { head: "Δ weight", key: "weight_spread", className: "number", title: "80th minus 20th percentile of the tokens' weights" },
];

class PromptTable {
  constructor(page, onChoose) {
    this.onChoose = onChoose;
    this.groups = page.groups.map((group, index) => summarise(group, index));
    const rewards = page.groups.flatMap((group) => group.responses.map((response) => response.reward)).filter((one) => one !== null);
    this.rewardScale = scaleOf({ centre: null }, rewards.reduce(([a, b], r) => [Math.min(a, r), Math.max(b, r)], [Infinity, -Infinity]));
    this.tasks = [...new Set(this.groups.map((group) => group.task))].sort();
    this.columns = COLUMNS.filter((column) => column.key !== "task" || this.tasks.length > 1);
    this.sort = { key: "step", descending: false };
    this.chosen = null;
    this.holder = byId("rows");
    this.body = element("tbody");
    this.heads = element("tr");
    this.holder.append(element("table", { role: "grid" }, element("thead", {}, this.heads), this.body));
    this.holder.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(this.holder);
    this.prepareFilters();
    this.filter();
  }

  prepareFilters() {
    const options = [element("option", { value: "" }, "all"), ...this.tasks.map((task) => element("option", { value: task }, task || "(none)"))];
    byId("filter-task").append(...options);
    byId("task-label").hidden = this.tasks.length < 2;
    byId("filters").addEventListener("input", () => this.filter());
    byId("clear-filters").addEventListener("click", () => {
      for (const field of byId("filters").querySelectorAll("input, select")) field.value = "";
      this.filter();
    });
  }

  filter() {
    const text = byId("filter-text").value.toLowerCase();
    const task = byId("filter-task");
    const tests = [
      within("reward", "reward-from", "reward-to"),
      within("step", "step-from", "step-to"),
      (group) => !text || group.searchable.includes(text),
      // The first choice is all tasks, and a task without a name has the same value.
      (group) => task.selectedIndex < 1 || group.task === task.value,
      RIGHT[byId("filter-right").value],
    ];
    this.kept = this.groups.filter((group) => tests.every((test) => test(group)));
    const responses = this.kept.reduce((sum, group) => sum + group.rewards.length, 0);
    byId("found").textContent = `${this.kept.length} of ${this.groups.length} prompts, ${responses} responses`;
    this.holder.scrollTop = 0;
    this.order();
  }

  order() {
    const { key, descending } = this.sort;
    const sign = descending ? -1 : 1;
    const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : (a ?? -Infinity) - (b ?? -Infinity));
    this.kept.sort((a, b) => sign * compare(a[key], b[key]) || a.index - b.index);
    this.drawHeads();
    this.draw();
  }

  drawHeads() {
    const heads = this.columns.map(({ head, key, className, title }) => {
      const chosen = key === this.sort.key;
      const direction = chosen ? (this.sort.descending ? "descending" : "ascending") : null;
      const button = element("button", { type: "button", onclick: () => this.sortBy(key), title: title ?? null }, head);
      return element("th", { class: className ?? null, "aria-sort": direction }, button);
    });
    this.heads.replaceChildren(...heads);
  }

  sortBy(key) {
    this.sort = { key, descending: this.sort.key === key && !this.sort.descending };
    this.order();
    this.heads.querySelector("[aria-sort] button").focus();
  }

  draw() {
    const first = Math.max(0, Math.floor(this.holder.scrollTop / ROW_HEIGHT) - SPARE_ROWS);
    const last = Math.min(this.kept.length, first + Math.ceil(this.holder.clientHeight / ROW_HEIGHT) + 2 * SPARE_ROWS);
    const rows = this.kept.slice(first, last).map((group) => this.row(group));
    const none = element("tr", {}, element("td", { class: "empty", colspan: this.columns.length }, "No prompt passes the filters."));
    this.body.replaceChildren(spacer(first), ...(this.kept.length ? rows : [none]), spacer(this.kept.length - last));
  }

  row(group) {
    const cells = this.columns.map(({ key, className }) => {
      if (key === "rewardSpread") return element("td", { class: className }, ...this.rewardDots(group));
      const value = typeof group[key] === "string" ? group[key] : number(group[key], 3);
      // A block inside the cell: a cell itself cannot be cut after two lines.
      return element("td", { class: className ?? null, title: key === "excerpt" ? value : null }, element("div", {}, value));
    });
    const chosen = String(group.index === this.chosen);
    return element("tr", { class: "prompt-row", "aria-selected": chosen, onclick: () => this.choose(group.index) }, ...cells);
  }

  rewardDots(group) {
    return group.rewards.map((reward) => {
      const dot = element("span", { class: "dot", title: number(reward) });
      dot.style.setProperty("--share", reward === null ? 0 : this.rewardScale.share(reward).toFixed(3));
      return dot;
    });
  }

  choose(index) {
    this.chosen = index;
    this.draw();
    this.onChoose(index);
  }

  // The prompt `by` rows further down; the first one if the chosen prompt is filtered out.
  move(by) {
    if (!this.kept.length) return;
    const at = this.kept.findIndex((group) => group.index === this.chosen);
    const place = at < 0 ? 0 : clamp(at + by, 0, this.kept.length - 1);
    const top = place * ROW_HEIGHT;
    const room = this.holder.clientHeight - this.heads.offsetHeight - ROW_HEIGHT;
    this.holder.scrollTop = clamp(this.holder.scrollTop, top - room, top);
    this.choose(this.kept[place].index);
  }
}

function summarise(group, index) {
  const rewards = group.responses.map((response) => response.reward);
  const known = rewards.filter((reward) => reward !== null);
  return {
    ...group,
    index,
    rewards,
    reward: known.length ? mean(known) : null,
    rewardSpread: known.length ? Math.max(...known) - Math.min(...known) : null,
    length: mean(group.responses.map((response) => response.length)),
    searchable: [group.prompt, group.label, ...group.responses.map((response) => response.text)].join("\n").toLowerCase(),
  };
}

// Whether a value lies within two fields; an empty field does not bound it.
function within(key, from, to) {
  const bound = (id, open) => (byId(id).value === "" ? open : Number(byId(id).value));
  const [low, high] = [bound(from, -Infinity), bound(to, Infinity)];
  return (group) => group[key] === null ? low === -Infinity && high === Infinity : group[key] >= low && group[key] <= high;
}

function spacer(rows) {
  const row = element("tr", { class: "spacer", "aria-hidden": "true" });
  row.style.height = `${rows * ROW_HEIGHT}px`;
  return row;
}
