// The panels of plugins: custom elements that a plugin brings, given one object to talk to Omni with.

import { get, upload } from "./api.js";
import { h, problem } from "./dom.js";

export class Panels {
  #known = [];
  #loading = new Map();

  /** `say(text)` starts a typed turn; `stage` is where panels appear. */
  constructor({ line, stage, say }) {
    Object.assign(this, { line, stage, say });
    line.on("Drawing", (message) => this.#draw(message));
    stage.addEventListener("omni-drawing", ({ detail }) => line.send("Drawing", { operations: detail.operations, author: "person" }));
  }

  /** Ask the server which panels there are: `[{plugin, id, title, module, icon}]`. */
  async refresh() {
    this.#known = (await get("/api/status")).panels;
    return this.#known;
  }

  get known() {
    return this.#known;
  }

  /** Show a panel on the stage. What goes wrong is said there. */
  async open(id) {
    const panel = this.#known.find((p) => p.id === id);
    const key = `panel:${id}`;
    if (this.stage.has(key)) return this.stage.choose(key);
    const close = () => this.stage.remove(key);
    if (!panel) {
      this.stage.show(key, id, problem({ message: "This panel is not there at present.", remedy: "Look at the plugins page whether its plugin is running." }), close);
      return undefined;
    }
    try {
      this.stage.show(key, panel.title, await this.#make(panel), close);
    } catch (error) {
      this.stage.show(key, panel.title, problem({ message: `The panel of ${panel.title} could not be loaded: ${error.message}`, remedy: "Look at the plugins page, or reload." }), close);
    }
    return undefined;
  }

  async #make(panel) {
    const tag = `omni-${panel.id}`;
    const base = `/plugins/${encodeURIComponent(panel.plugin)}`;
    if (!customElements.get(tag)) {
      if (!this.#loading.has(tag)) this.#loading.set(tag, import(`${base}/static/${panel.module}`));
      await this.#loading.get(tag).catch((error) => {
        this.#loading.delete(tag);
        throw error;
      });
    }
    if (!customElements.get(tag)) throw new Error(`its module does not define <${tag}>.`);
    const element = document.createElement(tag);
    element.omni = this.#context(panel, base, element);
    return element;
  }

  /** What a panel may use; see docs/panels.md. */
  #context(panel, base, element) {
    const { line } = this;
    return {
      plugin: panel.plugin,
      call: (method, params = {}) => line.call(panel.plugin, method, params),
      on: (topic, handler) => {
        const off = line.on("Custom", (m) => m.topic === `${panel.plugin}.${topic}` && (element.isConnected || !off()) && handler(m.payload));
        return off;
      },
      event: (type, handler) => line.on(type, handler),
      media: (name) => `${base}/media/${name.split("/").map(encodeURIComponent).join("/")}`,
      static: (name) => `${base}/static/${name}`,
      say: (text) => this.say(text),
      upload: (blob, name = "") => upload(`/api/media?session=${line.session}&name=${encodeURIComponent(name)}`, blob),
      get session() {
        return line.session;
      },
    };
  }

  /** Whiteboard operations go to `<omni-whiteboard>`, which appears when something is drawn. */
  async #draw(message) {
    if (!this.#known.some((p) => p.id === "whiteboard")) return;
    if (!this.stage.has("panel:whiteboard")) await (this.#opening ??= this.open("whiteboard").finally(() => (this.#opening = null)));
    this.stage.get("panel:whiteboard")?.draw?.(message.operations, message);
  }

  #opening = null;
}

/** A picture, a page, a map: shown on the stage with words to it. */
export function figure(src, text) {
  return h("figure", {}, h("img", { src, alt: text }), h("figcaption", {}, text));
}
