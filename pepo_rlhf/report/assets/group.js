// One prompt: its images beside the responses of its group, as heat maps of one quantity at a time.

class GroupView {
  constructor(node, page) {
    Object.assign(this, { node, page, quantity: null, scaleOver: "prompt", cards: [] });
    this.tooltip = byId("tooltip");
    // Responses are built as they come near the visible part: a group may hold a hundred thousand tokens.
    this.visible = new IntersectionObserver((entries) => this.buildVisible(entries), { root: node, rootMargin: "300px" });
    node.addEventListener("pointerover", (event) => this.showToken(event.target.closest(".token")));
    node.addEventListener("pointerleave", () => this.showToken(null));
    node.addEventListener("scroll", () => this.showToken(this.pointed));
    node.addEventListener("focusout", () => this.showToken(null));
    node.addEventListener("keydown", (event) => this.moveToken(event));
  }

  open(index) {
    const group = this.page.groups[index];
    this.responses = stored(`group-${index}`);
    this.hasImage = group.has_image;
    this.quantity ??= QUANTITIES.find(({ name }) => name === "weight");
    this.visible.disconnect();
    this.cards = this.responses.map((response, place) => new Card(response, group.responses[place], this.page.vocabulary));
    this.tools = element("div", { class: "toolbar" });
    const cards = element("div", { class: "cards" }, ...this.cards.map((card) => card.node));
    const body = element("div", { class: "beside" }, this.images(group), cards);
    this.node.replaceChildren(this.heading(group), this.tools, body);
    this.node.scrollTop = 0;
    this.showToken(null);
    this.paint();
    for (const card of this.cards) this.visible.observe(card.node);
  }

  heading(group) {
    const batchSize = this.page.batch_sizes[group.step];
    const recorded = this.page.groups.filter((one) => one.step === group.step).flatMap((one) => one.responses).length;
    const facts = [`step ${group.step}`, `progress ${number(group.progress)}`, group.task && ["task ", element("bdi", {}, group.task)]];
    if (recorded < batchSize) facts.push(`${recorded} of the step's ${batchSize} responses recorded`);
    return element(
      "header",
      {},
      element("h2", {}, group.excerpt),
      element("p", { class: "label" }, "Label ", element("b", {}, group.label), ...facts.filter(Boolean).flatMap((fact) => [" · ", fact].flat())),
      element("details", {}, element("summary", {}, "whole prompt"), element("pre", {}, group.prompt)),
    );
  }

  images(group) {
    if (!group.images.length) return element("div", { class: "images none" }, element("p", { class: "empty" }, "text only"));
    const pictures = group.images.map((place, index) => {
      const source = byId(`image-${place}`).textContent;
      if (!source) return element("p", { class: "empty" }, "image file missing from the run folder");
      const image = element("img", { src: source, alt: `Image ${index + 1} of the prompt` });
      image.addEventListener("load", () => image.classList.toggle("small", image.naturalWidth < 200));
      const enlarge = () => this.node.querySelector(".beside").classList.toggle("enlarged");
      return element("button", { type: "button", title: "enlarge or shrink", onclick: enlarge }, image);
    });
    return element("div", { class: "images" }, ...pictures);
  }

  choose(quantity) {
    this.quantity = quantity;
    if (this.cards.length) this.paint();
  }

  paint() {
    const { name } = this.quantity;
    const values = () => this.responses.flatMap((response) => response[name]).filter((value) => value !== null);
    this.scale = scaleOf(this.quantity, this.scaleOver === "run" ? this.page.ranges[name] : percentiles(values()));
    this.node.dataset.quantity = name;
    this.node.dataset.centred = this.quantity.centre !== null;
    this.toolbar();
    for (const card of this.cards) card.paint(this.quantity, this.scale);
  }

  toolbar() {
    const focused = this.tools.contains(document.activeElement) ? document.activeElement.id : null;
    const buttons = QUANTITIES.map((quantity, place) =>
      element(
        "button",
        {
          type: "button",
          id: `show-${quantity.name}`,
          "aria-pressed": String(quantity === this.quantity),
          "aria-keyshortcuts": place + 1,
          onclick: () => this.choose(quantity),
        },
        element("kbd", {}, String(place + 1)),
        quantity.label,
      ),
    );
    const scaleOver = element(
      "button",
      { type: "button", id: "scale-over", "aria-keyshortcuts": "s", onclick: () => this.changeScale() },
      `Scale: ${this.scaleOver}`,
    );
    const absent = this.responses.every((response) => response[this.quantity.name].every((value) => value === null));
    const blind = this.quantity.name === "similarity" && !this.hasImage && !absent;
    this.tools.replaceChildren(
      element("div", { role: "group", "aria-label": "Quantity shown", class: "choice" }, ...buttons),
      scaleOver,
      legendOf(this.quantity, this.scale, this.scaleOver),
      absent ? element("p", { class: "note" }, `The run's method does without ${this.quantity.name}, so it was not computed.`) : "",
      blind ? element("p", { class: "note" }, "No image: similarity says nothing here.") : "",
    );
    if (focused) byId(focused).focus();
  }

  changeScale() {
    this.scaleOver = this.scaleOver === "prompt" ? "run" : "prompt";
    if (this.cards.length) this.paint();
  }

  buildVisible(entries) {
    for (const entry of entries.filter((one) => one.isIntersecting)) {
      this.visible.unobserve(entry.target);
      this.cards.find((card) => card.node === entry.target)?.build(this.quantity, this.scale);
    }
  }

  // Left and right move through the tokens of the focused response, as the pointer does.
  moveToken(event) {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const card = this.cards.find((one) => one.node === document.activeElement);
    if (!move || !card?.tokens) return;
    event.preventDefault();
    const at = this.pointed ? card.tokens.indexOf(this.pointed) : -1;
    const token = card.tokens[at < 0 ? 0 : clamp(at + move, 0, card.tokens.length - 1)];
    token?.scrollIntoView({ block: "nearest" });
    this.showToken(token);
  }

  showToken(token) {
    this.pointed?.classList.remove("pointed");
    this.pointed = token ?? null;
    this.tooltip.hidden = !token;
    if (!token) return;
    token.classList.add("pointed");
    const card = this.cards.find((one) => one.node.contains(token));
    this.tooltip.replaceChildren(...card.describe(card.tokens.indexOf(token)));
    const box = token.getClientRects()[0];
    const { offsetWidth, offsetHeight } = this.tooltip;
    const below = box.bottom + 6 + offsetHeight < innerHeight;
    this.tooltip.style.left = `${clamp(box.left, 6, innerWidth - offsetWidth - 6)}px`;
    this.tooltip.style.top = `${below ? box.bottom + 6 : box.top - 6 - offsetHeight}px`;
  }
}

// A response: what it earned, the quantity along it, and its tokens.
class Card {
  constructor(response, { reward, length }, vocabulary) {
    Object.assign(this, { response, vocabulary, tokens: null });
    this.profile = element("div", { class: "profile-holder" });
    this.text = element("div", { class: "tokens" });
    const parts = Object.entries(response.parts).flatMap(([name, value]) => [element("bdi", {}, name), ` ${number(value)} · `]);
    const header = element(
      "header",
      {},
      element("span", {}, "reward ", element("b", { class: "reward" }, number(reward))),
      element("span", {}, ...parts, `${length} tokens`, response.truncated ? element("em", {}, " truncated") : ""),
      element("span", { class: "sample" }, `#${response.sample}`),
    );
    const label = `Response ${response.sample}, reward ${number(reward)}; left and right arrow keys read tokens`;
    this.text.style.minHeight = `${2 * length}px`; // rather low for what will be built, and enough to keep it out of sight
    this.node = element("article", { class: "card", tabindex: 0, "aria-label": label }, header, this.profile, this.text);
  }

  build(quantity, scale) {
    this.tokens = [];
    const nodes = [];
    for (const place of this.response.tokens) {
      // The space before a word stays uncoloured: at a line's end it would be a coloured block of its own.
      const [, space, word] = /^( *)(.*)$/s.exec(this.vocabulary[place][1]);
      const token = element("span", { class: word.startsWith("\n") ? "token newline" : "token" }, word || space);
      this.tokens.push(token);
      nodes.push(word ? space : "", token);
    }
    this.text.style.minHeight = "";
    this.text.replaceChildren(...(nodes.length ? nodes : [element("p", { class: "empty" }, "empty response")]));
    this.paint(quantity, scale);
  }

  paint(quantity, scale) {
    const values = this.response[quantity.name];
    this.profile.replaceChildren(profileOf(values, scale));
    this.tokens?.forEach((token, place) => {
      const value = values[place];
      token.classList.toggle("missing", value === null);
      token.style.setProperty("--share", value === null ? 0 : scale.share(value).toFixed(3));
    });
  }

  describe(place) {
    const { response } = this;
    const [id, text] = this.vocabulary[response.tokens[place]];
    const rollout = response.rollout_log_prob?.[place];
    const rows = [
      ["similarity", number(response.similarity[place])],
      ["entropy", `${number(response.entropy[place])} nats`],
      ["weight", number(response.weight[place])],
      ["advantage", `${number(response.advantage_before[place])} → ${number(response.advantage[place])}`],
      ["log-prob", number(response.log_prob[place])],
      ["at rollout", number(rollout)],
    ];
    return [
      element("p", {}, element("code", {}, JSON.stringify(text)), ` ${place + 1} of ${response.tokens.length}, id ${id}`),
      element("dl", {}, ...rows.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)])),
    ];
  }
}
