// Documents: questions and answers at the left, the page with its evidence at the right.

const h = (tag, props = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
};

const STYLE = `
  :host { display: block; height: 100%; color: var(--ink); font-family: var(--type); font-size: var(--body); container-type: inline-size; }
  * { box-sizing: border-box; }
  .both { display: grid; grid-template-columns: minmax(20rem, 2fr) 3fr; height: 100%; min-height: 0; }
  .talk { display: flex; flex-direction: column; min-height: 0; min-width: 0; border-right: 1px solid var(--line); }
  .bar { display: flex; gap: var(--s2); align-items: center; padding: var(--s3) var(--s4); border-bottom: 1px solid var(--line); }
  .bar label { color: var(--quiet); font-size: var(--small); flex: none; }
  select, input { font: inherit; color: var(--ink); background: var(--raised); border: 1px solid var(--edge); border-radius: var(--round); padding: var(--s2) var(--s3); min-width: 0; }
  select { flex: 1; font-size: var(--small); }
  .said { flex: 1; overflow-y: auto; padding: var(--s4); display: flex; flex-direction: column; gap: var(--s4); min-height: 0; }
  .question { align-self: flex-end; max-width: 88%; background: var(--sunken); border-radius: var(--round); padding: var(--s2) var(--s3); overflow-wrap: anywhere; }
  .answer { max-width: 100%; overflow-wrap: anywhere; }
  .answer p { margin: 0 0 var(--s2); line-height: 1.5; }
  .answer.not p { color: var(--quiet); }
  .source { display: block; width: 100%; text-align: left; font: inherit; color: inherit; background: var(--raised); border: 1px solid var(--line); border-radius: var(--round); padding: var(--s2) var(--s3); margin-top: var(--s2); cursor: pointer; }
  .source:hover, .source[aria-pressed="true"] { border-color: var(--accent); }
  .source b { display: block; font-size: var(--small); font-weight: 600; color: var(--accent); }
  .source q { font-size: var(--small); color: var(--quiet); display: -webkit-box; -webkit-line-clamp: 3; -webkit-box-orient: vertical; overflow: hidden; }
  .near { font-size: var(--small); color: var(--quiet); }
  form { display: flex; gap: var(--s2); padding: var(--s3) var(--s4); border-top: 1px solid var(--line); }
  form input { flex: 1; }
  button.do { font: inherit; font-weight: 600; border: 0; border-radius: var(--round); padding: var(--s2) var(--s4); background: var(--accent); color: var(--on-accent); cursor: pointer; }
  button.do:disabled { opacity: 0.5; cursor: default; }
  :focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
  .page { background: var(--sunken); min-height: 0; overflow: auto; padding: var(--s4); display: flex; flex-direction: column; gap: var(--s3); }
  .page figure { margin: 0 auto; max-width: 52rem; width: 100%; }
  .page img { width: 100%; display: block; background: #fff; box-shadow: var(--shadow); border-radius: 2px; }
  .page figcaption { display: flex; gap: var(--s2); justify-content: space-between; align-items: center; font-size: var(--small); color: var(--quiet); padding-bottom: var(--s2); }
  .turn { display: flex; gap: var(--s1); }
  .turn button { font: inherit; color: inherit; background: var(--raised); border: 1px solid var(--line); border-radius: var(--s2); min-width: 2.25rem; min-height: 2.25rem; cursor: pointer; }
  .empty { margin: auto; max-width: 28rem; color: var(--quiet); text-align: center; line-height: 1.5; padding: var(--s4); }
  .trouble { background: var(--bad-soft); color: var(--bad); border-radius: var(--round); padding: var(--s2) var(--s3); font-size: var(--small); }
  .progress { font-size: var(--small); color: var(--quiet); padding: 0 var(--s4) var(--s2); }
  progress { width: 100%; accent-color: var(--accent); }
  details { font-size: var(--small); padding: var(--s2) var(--s4); border-bottom: 1px solid var(--line); }
  details form { padding: var(--s2) 0; border: 0; }
  details li { overflow-wrap: anywhere; }
  summary { cursor: pointer; color: var(--quiet); }
  @container (max-width: 46rem) {
    .both { grid-template-columns: 1fr; grid-template-rows: minmax(20rem, 1fr) auto; height: auto; min-height: 100%; }
    .talk { border-right: 0; }
    .page { padding: var(--s3); border-top: 1px solid var(--line); }
    .page.bare { display: none; }
    .said { max-height: 60vh; }
  }
`;

class OmniRag extends HTMLElement {
  #documents = [];
  #timer = 0;

  connectedCallback() {
    if (!this.shadowRoot) this.#build();
    this.#refresh();
  }

  disconnectedCallback() {
    clearTimeout(this.#timer);
  }

  #build() {
    const root = this.attachShadow({ mode: "open" });
    this.choice = h("select", { ariaLabel: "Where to look" });
    this.said = h("div", { className: "said", role: "log", ariaLive: "polite" });
    this.input = h("input", { placeholder: "What do you want to know?", ariaLabel: "Question", maxLength: 2000, autocomplete: "off" });
    this.send = h("button", { className: "do", type: "submit" }, "Ask");
    this.folder = h("input", { placeholder: "~/Documents", ariaLabel: "Folder or file" });
    this.progress = h("div", { className: "progress", hidden: true, role: "status" });
    this.problems = h("ul");
    this.heading = h("summary", {}, "Add documents");
    this.adding = h(
      "details",
      {},
      this.heading,
      h("form", { onsubmit: (event) => this.#index(event) }, this.folder, h("button", { className: "do", type: "submit" }, "Read")),
      this.problems,
    );
    this.view = h("div", { className: "page bare", tabIndex: 0, role: "region", ariaLabel: "The page" });
    root.append(
      h("style", {}, STYLE),
      h(
        "div",
        { className: "both" },
        h(
          "div",
          { className: "talk" },
          h("div", { className: "bar" }, h("label", {}, "Look in"), this.choice),
          this.adding,
          this.progress,
          this.said,
          h("form", { onsubmit: (event) => this.#ask(event) }, this.input, this.send),
        ),
        this.view,
      ),
    );
    this.#nothingShown();
  }

  async #refresh() {
    clearTimeout(this.#timer);
    try {
      const state = await this.omni.call("documents");
      this.#documents = state.documents;
      this.#choices();
      this.#working(state.indexing);
      this.#wrong(state.problems);
      if (state.indexing && !state.indexing.finished && this.isConnected) this.#timer = setTimeout(() => this.#refresh(), 1000);
    } catch (error) {
      this.#trouble(error);
    }
  }

  #choices() {
    const before = this.choice.value;
    const count = this.#documents.length;
    this.choice.replaceChildren(
      h("option", { value: "" }, count === 1 ? "The one document" : `All ${count} documents`),
      ...this.#documents.map((one) => h("option", { value: one.name }, `${one.name} (${one.pages} ${one.pages === 1 ? "page" : "pages"})`)),
    );
    this.choice.value = this.#documents.some((one) => one.name === before) ? before : "";
    this.send.disabled = !count;
    if (this.said.childElementCount && !this.said.querySelector(".empty")) return;
    this.said.replaceChildren(
      h(
        "div",
        { className: "empty" },
        count
          ? "Ask about your documents. The answer shows where it stands; when they do not say, it says so."
          : "No document has been read yet. Open “Add documents” above and name a folder, or run: omni docs index FOLDER",
      ),
    );
    if (!count) this.adding.open = true;
  }

  #working(state) {
    this.progress.hidden = !state || (state.finished && !state.error);
    if (!state) return;
    if (state.error) {
      this.progress.replaceChildren(h("div", { className: "trouble" }, state.error));
      return;
    }
    const left = state.left ? `, about ${state.left < 90 ? `${Math.ceil(state.left)} s` : `${Math.round(state.left / 60)} min`} left` : "";
    const what = state.stage === "embedding" ? `Understanding: ${state.waiting} passages left` : `Reading ${state.now || "…"} (${state.done} of ${state.files})${left}`;
    this.progress.replaceChildren(h("progress", { max: state.files || 1, value: state.done }), what);
  }

  #wrong(problems) {
    this.heading.textContent = problems.length ? `Add documents · ${problems.length} could not be read` : "Add documents";
    this.problems.replaceChildren(
      ...problems.slice(0, 50).map((one) => h("li", {}, `${one.path.split("/").pop()}${one.page ? `, page ${one.page}` : ""}: ${one.message}.`)),
    );
  }

  async #index(event) {
    event.preventDefault();
    try {
      await this.omni.call("index", { path: this.folder.value.trim() });
      this.folder.value = "";
      this.adding.open = false;
      this.#refresh();
    } catch (error) {
      this.progress.hidden = false;
      this.progress.replaceChildren(h("div", { className: "trouble" }, error.message));
    }
  }

  async #ask(event) {
    event.preventDefault();
    const question = this.input.value.trim();
    if (!question) return;
    this.said.querySelector(".empty")?.remove();
    this.input.value = "";
    this.send.disabled = true;
    const waiting = h("div", { className: "answer near" }, "Looking…");
    this.said.append(h("div", { className: "question" }, question), waiting);
    waiting.scrollIntoView({ block: "nearest" });
    try {
      const answer = await this.omni.call("ask", { question, document: this.choice.value });
      waiting.replaceWith(this.#answered(answer));
      this.said.lastElementChild.scrollIntoView({ block: "nearest" });
    } catch (error) {
      waiting.replaceWith(h("div", { className: "trouble" }, error.message));
    } finally {
      this.send.disabled = !this.#documents.length;
      this.input.focus();
    }
  }

  #answered(answer) {
    const sources = answer.citations.map((one) => {
      const button = h(
        "button",
        { className: "source", type: "button", onclick: () => this.#show(one, button) },
        h("b", {}, `${one.document}, page ${one.page}`),
        h("q", {}, one.quote),
      );
      return button;
    });
    const near = answer.supported
      ? null
      : h("div", { className: "near" }, answer.pages.length ? "Nearest, though it is not there: " : "", ...answer.pages.slice(0, 2).map((one) => this.#nearest(one)));
    if (sources.length) this.#show(answer.citations[0], sources[0]);
    return h("div", { className: answer.supported ? "answer" : "answer not" }, h("p", {}, answer.answer), ...sources, near);
  }

  #nearest(one) {
    const place = { path: one.path, document: one.document, page: one.page, box: null, marks: [] };
    const button = h("button", { className: "source", type: "button", onclick: () => this.#show(place, button) }, h("b", {}, `${one.document}, page ${one.page}`));
    return button;
  }

  #show(place, button) {
    for (const one of this.said.querySelectorAll(".source")) one.setAttribute("aria-pressed", String(one === button));
    const pages = this.#documents.find((one) => one.path === place.path)?.pages ?? place.page;
    const marks = [...place.marks.map((box) => ({ box, strong: true })), ...(place.box ? [{ box: place.box, strong: false }] : [])];
    const name = JSON.stringify({ path: place.path, page: place.page, marks, width: 1200 });
    const image = h("img", { src: this.omni.media(name), alt: `Page ${place.page} of ${place.document}${place.quote ? `, with this marked: ${place.quote}` : ""}` });
    image.addEventListener("error", () => image.replaceWith(h("div", { className: "trouble" }, "The page can't be shown: the file may have moved. Read its folder again.")));
    image.addEventListener("load", () => place.box && this.#scrollTo(image, place.box));
    const go = (page) => this.#show({ ...place, page, box: null, marks: [], quote: "" }, null);
    const turn = h(
      "span",
      { className: "turn" },
      h("button", { type: "button", ariaLabel: "Page before", disabled: place.page <= 1, onclick: () => go(place.page - 1) }, "‹"),
      h("button", { type: "button", ariaLabel: "Next page", disabled: place.page >= pages, onclick: () => go(place.page + 1) }, "›"),
    );
    this.view.classList.remove("bare");
    this.view.replaceChildren(h("figure", {}, h("figcaption", {}, h("span", {}, `${place.document}, page ${place.page} of ${pages}`), turn), image));
  }

  /** Bring the evidence into sight; boxes are in points, the picture is 1200 pixels wide at most. */
  #scrollTo(image, box) {
    const page = this.#pointsWide(image, box);
    const top = image.offsetTop + (box[1] * image.clientWidth) / page - 80;
    this.view.scrollTo({ top: Math.max(0, top - this.view.offsetTop), behavior: "instant" });
  }

  #pointsWide(image, box) {
    const a4 = image.naturalHeight > image.naturalWidth ? 600 : 800;
    return Math.max(a4, box[2]);
  }

  #nothingShown() {
    this.view.replaceChildren(h("div", { className: "empty" }, "The page an answer stands on appears here, with the passage marked."));
  }

  #trouble(error) {
    this.said.replaceChildren(h("div", { className: "trouble" }, error.message));
  }
}

customElements.define("omni-rag", OmniRag);
