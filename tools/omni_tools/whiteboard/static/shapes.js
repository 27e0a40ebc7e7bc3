// One operation of the board as SVG. Everything is built element by element; no text is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";
const MATH = "http://www.w3.org/1998/Math/MathML";
const XHTML = "http://www.w3.org/1999/xhtml";
//: The middle of a line of text above its baseline, as a share of its size.
export const MIDDLE = 0.35;
const COLOURS = new Set(["ink", "accent", "muted", "good", "warn"]);
const CURVES = ["accent", "warn", "good", "ink"];
const MATH_ELEMENTS = new Set(
  ("math mrow mi mn mo mtext mspace mfrac msqrt mroot mstyle msub msup msubsup munder mover munderover mtable mtr mtd mfenced mpadded mphantom menclose").split(" "),
);
const MATH_ATTRIBUTES = new Set("width height depth lspace rspace stretchy fence separator mathvariant displaystyle linethickness open close form accent columnalign rowalign".split(" "));

export function node(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const number = (value, otherwise = 0) => (Number.isFinite(value) ? Math.max(-2000, Math.min(20000, value)) : otherwise);
const tint = (colour) => `tint-${COLOURS.has(colour) ? colour : "ink"}`;
const points = (list) => list.map(([x, y]) => `${number(x).toFixed(1)},${number(y).toFixed(1)}`).join(" ");

/** A group that shows the operation; null for what is not drawn. Throws on what can't be read. */
export function shape(operation) {
  const draw = SHAPES[operation.op];
  if (!draw) return null;
  const group = node("g", { class: `drawn ${operation.op} ${tint(operation.colour)}` });
  group.append(...draw(operation).filter(Boolean));
  return group;
}

const line = (item) => ({ class: "line", "stroke-width": number(item.width, 3), pathLength: 1 });

const SHAPES = {
  text: (item) => [words(item.x, item.y, item.size ?? 30, item.text)],
  math: (item) => [formula(item)],
  stroke: (item) => [item.points.length > 1 ? node("path", { ...line(item), d: smooth(item.points) }) : dot(item)],
  polygon: (item) => [
    node("polygon", { ...line(item), points: points(item.points) }),
    ...(item.labels ?? []).slice(0, item.points.length).map((label, i) => words(item.points[i][0] + 8, item.points[i][1] - 8, 26, label)),
  ],
  line: (item) => [node("line", { ...line(item), x1: number(item.x1), y1: number(item.y1), x2: number(item.x2), y2: number(item.y2) }), item.arrow ? head(item) : null],
  circle: (item) => [node("circle", { ...line(item), class: item.filled ? "filled" : "line", cx: number(item.x), cy: number(item.y), r: Math.abs(number(item.r, 1)) })],
  graph,
};

function words(x, y, size, text) {
  return node("text", { x: number(x), y: number(y), "font-size": number(size, 30) }, String(text));
}

function dot(item) {
  return node("circle", { class: "filled", cx: number(item.points[0][0]), cy: number(item.points[0][1]), r: number(item.width, 3) });
}

/** Through the middles of the points, so that a hand's line is round. */
function smooth(list) {
  const [first, ...rest] = list.map(([x, y]) => [number(x), number(y)]);
  let d = `M${first[0].toFixed(1)} ${first[1].toFixed(1)}`;
  rest.forEach(([x, y], i) => {
    const next = rest[i + 1];
    d += next ? `Q${x.toFixed(1)} ${y.toFixed(1)} ${((x + next[0]) / 2).toFixed(1)} ${((y + next[1]) / 2).toFixed(1)}` : `L${x.toFixed(1)} ${y.toFixed(1)}`;
  });
  return d;
}

function head({ x1, y1, x2, y2, width = 3 }) {
  const length = Math.hypot(x2 - x1, y2 - y1) || 1;
  const [ux, uy, size] = [(x2 - x1) / length, (y2 - y1) / length, 6 * width];
  const base = [x2 - size * ux, y2 - size * uy];
  const side = [(size / 2) * -uy, (size / 2) * ux];
  return node("polygon", { class: "filled", points: points([[x2, y2], [base[0] + side[0], base[1] + side[1]], [base[0] - side[0], base[1] - side[1]]]) });
}

/** MathML in a `foreignObject`; only known elements and attributes are taken over. */
function formula(item) {
  const size = number(item.size, 36);
  const parsed = new DOMParser().parseFromString(String(item.mathml), "application/xml");
  const math = parsed.querySelector("parsererror") ? null : clean(parsed.documentElement, 0);
  if (!math || math.localName !== "math") return words(item.x, item.y, size * 0.7, item.text);
  const box = document.createElementNS(XHTML, "div");
  box.setAttribute("class", "formula");
  box.style.fontSize = `${size}px`;
  box.append(math);
  const place = { x: number(item.x), y: number(item.y) - size * (MIDDLE + 1.2), width: 1000, height: size * 2.4 };
  return node("foreignObject", place, box);
}

function clean(source, depth) {
  if (depth > 60 || !MATH_ELEMENTS.has(source.localName)) return document.createTextNode(source.textContent);
  const copy = document.createElementNS(MATH, source.localName);
  for (const { name, value } of source.attributes) if (MATH_ATTRIBUTES.has(name)) copy.setAttribute(name, value);
  for (const child of source.childNodes) {
    if (child.nodeType === Node.ELEMENT_NODE) copy.append(clean(child, depth + 1));
    else if (child.nodeType === Node.TEXT_NODE) copy.append(child.data);
  }
  return copy;
}

/** Axes with ticks, curves that break at their gaps and where they leave the window, marked points. */
function graph(item) {
  const [[x0, x1], [y0, y1]] = [item.x_range, item.y_range];
  const at = (x, y) => [item.x + ((x - x0) / (x1 - x0)) * item.width, item.y + ((y1 - y) / (y1 - y0)) * item.height];
  const inside = (value, low, high) => Math.min(Math.max(value, low), high);
  const [, axisY] = at(x0, inside(0, y0, y1));
  const [axisX] = at(inside(0, x0, x1), y0);
  const parts = [
    node("line", { class: "axis", x1: item.x, y1: axisY, x2: item.x + item.width, y2: axisY }),
    node("line", { class: "axis", x1: axisX, y1: item.y, x2: axisX, y2: item.y + item.height }),
  ];
  for (const value of ticks(x0, x1)) {
    const [x] = at(value, 0);
    parts.push(node("line", { class: "axis", x1: x, y1: axisY - 5, x2: x, y2: axisY + 5 }), tick(x, axisY + 26, value, "middle"));
  }
  for (const value of ticks(y0, y1)) {
    const [, y] = at(0, value);
    parts.push(node("line", { class: "axis", x1: axisX - 5, y1: y, x2: axisX + 5, y2: y }), tick(axisX - 10, y + 6, value, "end"));
  }
  item.curves.forEach((curve, i) => {
    const colour = tint(CURVES[i % CURVES.length]);
    for (const piece of pieces(curve, y0, y1)) parts.push(node("polyline", { class: `line ${colour}`, "stroke-width": 3.5, pathLength: 1, points: points(piece.map(([x, y]) => at(x, y))) }));
    if (item.labels?.[i]) {
      const label = words(item.x + item.width + 12, item.y + 24 + 34 * i, 26, item.labels[i]);
      label.setAttribute("class", colour);
      parts.push(label);
    }
  });
  for (const [x, y, label] of item.points ?? []) {
    const [px, py] = at(x, y);
    parts.push(node("circle", { class: "filled", cx: px, cy: py, r: 6 }), words(px + 10, py - 12, 24, label));
  }
  return parts;
}

/** Round values inside a range, five or so; zero is left out, the axes cross there. */
export function ticks(low, high) {
  const rough = (high - low) / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const found = [];
  for (let n = Math.ceil(low / step); n * step <= high && found.length < 20; n += 1) if (n !== 0) found.push(n * step);
  return found;
}

function tick(x, y, value, anchor) {
  return node("text", { class: "tick tint-muted", x, y, "font-size": 18, "text-anchor": anchor }, String(Number(value.toPrecision(6))));
}

function pieces(curve, low, high) {
  const found = [[]];
  for (const [x, y] of curve) {
    if (y === null || y < low || y > high) {
      if (found.at(-1).length) found.push([]);
    } else found.at(-1).push([x, y]);
  }
  return found.filter((piece) => piece.length > 1);
}
