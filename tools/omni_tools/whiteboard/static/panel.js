// <omni-whiteboard>: what Omni writes while it explains, and what the person draws.

import { Board } from "./board.js";
import { exportPng, exportSvg } from "./export.js";
import { Pen } from "./pen.js";

function make(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

const COLOURS = [["ink", "Black or white"], ["accent", "Green"], ["warn", "Amber"], ["muted", "Grey"]];

class Whiteboard extends HTMLElement {
  omni = null; // set by the page
  #board = null;
  #pen = null;
  #since = []; // what was drawn before the board as it stood had come
  #complete = false;
  #buttons = {};

  connectedCallback() {
    if (this.#board) return;
    this.#style();
    this.#board = new Board(make("ol", { class: "board-words", "aria-label": "On the whiteboard" }));
    this.#pen = new Pen(this.#board, { send: (operations) => this.#send(operations), changed: () => this.#refresh() });
    this.#message = make("p", { class: "board-message", role: "status" });
    this.#empty = make(
      "div", { class: "board-empty" },
      make("p", { class: "board-lead" }, "Show me a problem"),
      make("p", {}, "Hold an equation up to the camera, or drop a picture of it, and ask: ", make("em", {}, "How do I solve this?")),
      make("p", {}, "Or say: ", make("em", {}, "Plot x squared minus two"), ", or take the pen and write here yourself."),
    );
    this.append(this.#tools(), make("div", { class: "board-scroll", tabindex: "0", role: "group", "aria-label": "Whiteboard" }, this.#board.svg, this.#empty), this.#board.words, this.#message, this.#writing());
    this.#board.scroller = this.querySelector(".board-scroll");
    this.#refresh();
    this.#fetch();
  }

  /** Draw operations as the server sends them. */
  draw(operations, { author = "omni" } = {}) {
    if (!this.#complete) this.#since.push([operations, author]);
    this.#board?.apply(operations, { author, animate: true });
    this.#refresh();
  }

  /** The board as it stands: this page may have come late, or come back. */
  async #fetch() {
    try {
      const { operations } = await this.omni.call("snapshot", { session: this.omni.session });
      this.#board.clear();
      this.#board.apply(operations, { animate: false });
      for (const [later, author] of this.#since) this.#board.apply(later, { author, animate: false });
    } catch (error) {
      this.#say(`What was on the board could not be loaded: ${error.message}`);
    }
    this.#complete = true;
    this.#since = [];
    this.#refresh();
  }

  #send(operations) {
    this.dispatchEvent(new CustomEvent("omni-drawing", { bubbles: true, composed: true, detail: { operations } }));
  }

  // -- the tools ------------------------------------------------------------------------------------

  #tools() {
    const button = (name, label, onclick, extra = {}) => (this.#buttons[name] = make("button", { type: "button", class: "plain", onclick, ...extra }, label));
    const pens = COLOURS.map(([colour, label]) => {
      const dot = button(`colour-${colour}`, "", () => this.#pick("pen", colour), { class: "plain board-dot", "aria-label": `${label} pen`, title: `${label} pen`, "aria-pressed": "false" });
      dot.dataset.colour = colour;
      return dot;
    });
    return make(
      "div", { class: "board-tools", role: "toolbar", "aria-label": "Whiteboard tools" },
      button("hand", "Look", () => this.#pick("hand"), { "aria-pressed": "true" }),
      make("span", { class: "board-pens", role: "group", "aria-label": "Pens" }, ...pens),
      button("eraser", "Eraser", () => this.#pick("eraser"), { "aria-pressed": "false" }),
      button("write", "Write", () => this.#openWriting(), { "aria-expanded": "false" }),
      make("span", { class: "board-gap" }),
      button("undo", "Undo", () => this.#pen.undo()),
      button("clear", "Clear", () => this.#pen.clear()),
      button("svg", "SVG", () => this.#save(() => exportSvg(this.#board), "whiteboard.svg"), { "aria-label": "Save as SVG" }),
      button("png", "PNG", () => this.#save(() => exportPng(this.#board), "whiteboard.png"), { "aria-label": "Save as PNG" }),
    );
  }

  #pick(tool, colour = "ink") {
    this.#pen.pick(tool, colour);
    this.dataset.tool = tool;
    for (const [name, button] of Object.entries(this.#buttons)) {
      if (button.hasAttribute("aria-pressed")) button.setAttribute("aria-pressed", String(name === tool || (tool === "pen" && name === `colour-${colour}`)));
    }
  }

  /** Words on the board by keyboard, for whoever does not draw. */
  #writing() {
    const field = make("input", { type: "text", maxlength: "200", "aria-label": "Write on the board", placeholder: "Write on the board, for example 3x - 5 = 10" });
    this.#form = make("form", { class: "board-writing", hidden: true }, field, make("button", { class: "plain" }, "Put it there"));
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (field.value.trim()) this.#pen.write(field.value.trim());
      field.value = "";
    });
    return this.#form;
  }

  #openWriting() {
    this.#form.hidden = !this.#form.hidden;
    this.#buttons.write.setAttribute("aria-expanded", String(!this.#form.hidden));
    if (!this.#form.hidden) this.#form.querySelector("input").focus();
  }

  async #save(render, name) {
    try {
      const link = make("a", { download: name, href: URL.createObjectURL(await render()) });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
      this.#say("");
    } catch (error) {
      this.#say(`The board could not be saved: ${error.message}`);
    }
  }

  #refresh() {
    const nothing = this.#board.empty;
    this.#empty.hidden = !nothing;
    for (const name of ["clear", "svg", "png"]) this.#buttons[name].disabled = nothing;
    this.#buttons.undo.disabled = !this.#pen.undoable;
  }

  #say(text) {
    this.#message.textContent = text;
  }

  #style() {
    const href = this.omni.static("board.css");
    if (document.querySelector(`link[href="${href}"]`)) return;
    document.head.append(make("link", { rel: "stylesheet", href }));
  }

  #message = null;
  #empty = null;
  #form = null;
}

customElements.define("omni-whiteboard", Whiteboard);
