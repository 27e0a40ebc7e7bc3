// What is on the board, as SVG in board units (1000 wide, x to the right, y down), and in words for those who listen.

import { MIDDLE, node, shape } from "./shapes.js";

const WIDEST = 1000;
const NARROWEST = 720;
const LOWEST = 420;
const MARGIN = 60;

export class Board {
  items = new Map(); // id -> {operation, element, author}
  highlighted = "";
  svg = node("svg", { class: "board", viewBox: `0 0 ${NARROWEST} ${LOWEST}`, preserveAspectRatio: "xMinYMin meet", role: "img", "aria-label": "Whiteboard" });
  scroller = null;
  #mark = node("rect", { class: "mark", x: 16, width: NARROWEST - 32, height: 60, rx: 10, visibility: "hidden" });
  #layer = node("g", {});

  constructor(words) {
    this.words = words;
    this.svg.append(this.#mark, this.#layer);
  }

  get empty() {
    return this.items.size === 0;
  }

  /** Apply operations; one that can't be read is left out, the others are drawn. */
  apply(operations, { author = "omni", animate = false } = {}) {
    let last = null;
    for (const operation of Array.isArray(operations) ? operations : []) {
      try {
        last = this.#apply(operation, author, animate) ?? last;
      } catch (error) {
        console.debug("the whiteboard can't draw", operation, error);
      }
    }
    this.#fit();
    this.#point();
    this.#tell();
    if (last && author === "omni") this.#reveal(last, animate);
  }

  clear() {
    for (const { element } of this.items.values()) element.remove();
    this.items.clear();
    this.highlighted = "";
  }

  #apply(operation, author, animate) {
    if (operation.op === "highlight") {
      this.highlighted = operation.target;
      return this.items.get(operation.target)?.element;
    }
    if (operation.op === "erase") {
      const targets = operation.targets?.length ? operation.targets : [...this.items.keys()];
      for (const id of targets) {
        this.items.get(id)?.element.remove();
        this.items.delete(id);
        if (id === this.highlighted) this.highlighted = "";
      }
      return null;
    }
    const element = shape(operation);
    if (!element || typeof operation.id !== "string") return null;
    const known = this.items.get(operation.id);
    if (known) known.element.replaceWith(element);
    else this.#layer.append(element);
    if (animate && !known) element.classList.add("appearing");
    this.items.delete(operation.id);
    this.items.set(operation.id, { operation, element, author });
    return element;
  }

  /** The item under a point (board units), the topmost first; null where there is none. */
  hit(x, y, reach = 14) {
    for (const [id, { element }] of [...this.items].reverse()) {
      const box = element.getBBox();
      if (x < box.x - reach || x > box.x + box.width + reach || y < box.y - reach || y > box.y + box.height + reach) continue;
      const line = element.querySelector("path, line, polyline, polygon");
      if (!line || element.querySelector("text, foreignObject")) return id;
      const length = line.getTotalLength();
      for (let at = 0; at <= length; at += Math.max(4, length / 200)) {
        const point = line.getPointAtLength(at);
        if (Math.hypot(point.x - x, point.y - y) <= reach) return id;
      }
    }
    return null;
  }

  /** The lowest point that is drawn on. */
  get bottom() {
    let bottom = 0;
    for (const { operation, element } of this.items.values()) {
      const box = element.getBBox();
      bottom = Math.max(bottom, operation.op === "math" ? operation.y + operation.size / 2 : box.y + box.height);
    }
    return bottom;
  }

  /** A board as narrow as what is on it: on a telephone the writing stays large. */
  #fit() {
    let right = 0;
    const scale = this.#scale();
    for (const { operation, element } of this.items.values()) {
      if (operation.op === "math") right = Math.max(right, this.#fitFormula(operation, element, scale));
      else {
        const box = element.getBBox();
        right = Math.max(right, box.x + box.width);
      }
    }
    this.width = Math.min(WIDEST, Math.max(NARROWEST, right + 30));
    this.height = Math.max(LOWEST, this.bottom + MARGIN);
    this.svg.setAttribute("viewBox", `0 0 ${this.width.toFixed(0)} ${this.height.toFixed(0)}`);
    this.#mark.setAttribute("width", this.width - 32);
  }

  /** Shrink a formula that is wider than the board. Returns its right edge. */
  #fitFormula({ id, x, size }, element, scale) {
    const math = element.querySelector("math");
    if (!math) return x;
    const box = math.parentElement;
    box.style.fontSize = `${size}px`;
    const width = math.getBoundingClientRect().width / scale;
    const remark = this.items.get(`${id}-remark`)?.operation;
    const room = (remark?.x ?? WIDEST) - x - 20;
    if (width > room) box.style.fontSize = `${(size * room) / width}px`;
    return x + Math.min(width, room);
  }

  /** Pixels of the screen in one board unit. */
  #scale() {
    return this.svg.getScreenCTM()?.a || 1;
  }

  #point() {
    const item = this.items.get(this.highlighted)?.operation;
    const visible = item && (item.op === "math" || item.op === "text");
    this.#mark.setAttribute("visibility", visible ? "visible" : "hidden");
    if (!visible) return;
    const height = Math.max(54, item.size * 1.8);
    this.#mark.setAttribute("height", height);
    this.#mark.style.transform = `translateY(${item.y - MIDDLE * item.size - height / 2}px)`;
    for (const [id, { element }] of this.items) element.classList.toggle("pointed", id === this.highlighted);
  }

  #tell() {
    const said = [...this.items.values()].map(({ operation: o, author }) => {
      if (o.op === "text" || o.op === "math") return o.text;
      if (o.op === "graph") return `Graph of ${(o.labels ?? []).join(" and ")}`;
      return author === "person" ? null : o.op === "polygon" ? `Figure ${(o.labels ?? []).join(" ")}` : o.op;
    });
    const strokes = [...this.items.values()].filter(({ author }) => author === "person").length;
    const lines = [...said.filter(Boolean), ...(strokes ? [`${strokes} drawn by you`] : [])];
    this.words.replaceChildren(...lines.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
    this.svg.setAttribute("aria-label", lines.length ? `Whiteboard: ${lines.join("; ").slice(0, 2000)}` : "Whiteboard, empty");
  }

  #reveal(element, animate) {
    if (!this.scroller) return;
    const [box, view] = [element.getBoundingClientRect(), this.scroller.getBoundingClientRect()];
    const calm = !animate || matchMedia("(prefers-reduced-motion: reduce)").matches;
    const over = box.bottom + 24 - view.bottom;
    const under = view.top + 24 - box.top;
    if (over > 0 || under > 0) this.scroller.scrollBy({ top: over > 0 ? over : -under, behavior: calm ? "instant" : "smooth" });
  }
}
