// The quantities that heat maps show, and how a value becomes a colour: a share of the scale, which the style sheet
// turns into one (-1 to 1 around a centre, 0 to 1 without one).

const QUANTITIES = [
  { name: "similarity", label: "Similarity", centre: null, meaning: "of the token's hidden states to the image's" },
  { name: "entropy", label: "Entropy", centre: null, meaning: "of the distribution the token was drawn from, nats" },
  { name: "weight", label: "Weight", centre: 1, meaning: "share of the response's credit; mean 1" },
  { name: "advantage", label: "Advantage", centre: 0, meaning: "of the token, after weighting" },
  { name: "log_prob", label: "Log-prob", centre: null, meaning: "of the token under the policy, nats" },
  { name: "image_dependence", label: "Image dependence", centre: null, meaning: "KL from the distribution under a perturbed image, nats" },
  { name: "image_sensitivity", label: "Image sensitivity", centre: null, meaning: "change of the log-prob under a perturbed image, nats" },
];

// 2nd and 98th percentile, as the run's own ranges: one extreme token would take the contrast from all others.
function percentiles(values) {
  const sorted = Float64Array.from(values).sort();
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
  return sorted.length ? [at(0.02), at(0.98)] : [0, 0];
}

// Scale of a quantity over `range`, the lowest and the highest value that still get a colour of their own.
function scaleOf(quantity, [low, high]) {
  const { centre } = quantity;
  if (centre === null) {
    const span = high - low;
    return { low, high, centre, share: (value) => (span > 0 ? clamp((value - low) / span, 0, 1) : 0) };
  }
  const reach = Math.max(Math.abs(low - centre), Math.abs(high - centre));
  const share = (value) => (reach > 0 ? clamp((value - centre) / reach, -1, 1) : 0);
  return { low: centre - reach, high: centre + reach, centre, share };
}

function legendOf(quantity, scale, over) {
  const middle = scale.centre === null ? null : element("span", {}, number(scale.centre));
  return element(
    "div",
    { class: "scale", "data-quantity": quantity.name },
    element("span", {}, `≤ ${number(scale.low)}`),
    element("div", { class: "ramp" }, middle),
    element("span", {}, `≥ ${number(scale.high)}`),
    element("small", {}, `${quantity.meaning} · 2nd to 98th percentile of this ${over}`),
  );
}

// Shape of a quantity along a response, one bar a token: from the bottom, or up and down from the centre.
function profileOf(values, scale) {
  const base = scale.centre === null ? 1 : 0.5;
  const bars = { up: "", down: "" };
  values.forEach((value, place) => {
    const share = value === null ? 0 : scale.share(value);
    bars[share < 0 ? "down" : "up"] += `M${place} ${base}V${(base - share * base).toFixed(3)}h1V${base}`;
  });
  return svg(
    "svg",
    { class: "profile", viewBox: `0 0 ${Math.max(values.length, 1)} 1`, preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("path", { class: "up", d: bars.up }),
    svg("path", { class: "down", d: bars.down }),
  );
}
