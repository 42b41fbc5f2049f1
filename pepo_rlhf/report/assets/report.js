// Start of the page: its two views, theme, help and keys.

const THEMES = ["system", "light", "dark"];

const HELP = [
  [["j", "k", "↓", "↑"], "next and previous prompt"],
  [["1", "…", "7"], "quantity of the heat maps"],
  [["s"], "colour scale over this prompt or over the whole run"],
  [["←", "→"], "token of the focused response"],
  [["/"], "search"],
  [["o", "p"], "overview, prompts"],
  [["t"], "theme: as the system, light, dark"],
  [["?", "Esc"], "this help, and out of it"],
];

function start() {
  const page = stored("page");
  const hasTokens = page.groups.length > 0;
  showOverview(byId("overview"), page.overview, hasTokens);
  byId("num-prompts").textContent = hasTokens ? String(page.groups.length) : "";
  const views = new Views(page);
  byId("show-overview").addEventListener("click", () => views.show("overview"));
  byId("show-prompts").addEventListener("click", () => views.show("prompts"));
  byId("show-prompts").disabled = !hasTokens;
  byId("show-prompts").title = hasTokens ? "" : "no token records";
  byId("theme").addEventListener("click", changeTheme);
  byId("open-help").addEventListener("click", () => byId("help").showModal());
  showHelp();
  addEventListener("keydown", (event) => onKey(event, views));
  document.documentElement.dataset.ready = "";
}

class Views {
  constructor(page) {
    this.page = page;
    this.table = null; // built when first shown
  }

  get inPrompts() {
    return !byId("prompts").hidden;
  }

  show(name) {
    if (name === "prompts" && !this.page.groups.length) return;
    for (const view of ["overview", "prompts"]) {
      byId(view).hidden = view !== name;
      byId(`show-${view}`).setAttribute("aria-current", view === name ? "page" : "false");
    }
    if (name === "prompts" && !this.table) {
      this.group = new GroupView(byId("group"), this.page);
      this.table = new PromptTable(this.page, (index) => this.group.open(index));
      this.table.move(0);
    }
  }
}

function changeTheme() {
  const root = document.documentElement;
  const theme = THEMES[(THEMES.indexOf(root.dataset.theme ?? "system") + 1) % THEMES.length];
  root.dataset.theme = theme;
  byId("theme").textContent = `Theme: ${theme}`;
}

function showHelp() {
  const keys = (names) => names.flatMap((name) => (name === "…" ? [name] : [element("kbd", {}, name)]));
  const rows = HELP.flatMap(([names, what]) => [element("dt", {}, ...keys(names)), element("dd", {}, what)]);
  const reading =
    "Colours: deeper is more; around a centre, blue is above it and orange below. A token's similarity is read after the " +
    "token, its entropy before it. Point at a token for all its numbers.";
  byId("help").append(
    element("h2", { id: "help-title" }, "Keys"),
    element("dl", {}, ...rows),
    element("p", {}, reading),
    element("button", { type: "button", onclick: () => byId("help").close() }, "Close"),
  );
}

function onKey(event, views) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  if (event.target.matches("input, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const action = actionOf(event.key, views);
  if (!action) return;
  event.preventDefault();
  action();
}

function actionOf(key, views) {
  const always = {
    "?": () => byId("help").showModal(),
    t: changeTheme,
    o: () => views.show("overview"),
    p: () => views.show("prompts"),
  };
  if (!views.inPrompts || key in always) return always[key];
  const quantity = QUANTITIES[Number(key) - 1];
  if (quantity) return () => views.group.choose(quantity);
  return {
    j: () => views.table.move(1),
    ArrowDown: () => views.table.move(1),
    k: () => views.table.move(-1),
    ArrowUp: () => views.table.move(-1),
    s: () => views.group.changeScale(),
    "/": () => byId("filter-text").focus(),
  }[key];
}

start();
