// The wall of photos: search as it is typed, by example, or both; arrows move, Enter enlarges, M shows more like it.

import { announce, h, problem, when } from "/static/dom.js";

const sheet = new CSSStyleSheet();
sheet.replaceSync(`
  omni-photos { display: flex; flex-direction: column; height: 100%; min-height: 0; container-type: inline-size; }
  omni-photos form { display: grid; gap: var(--s2); padding: var(--s4) var(--s4) var(--s3); border-bottom: 1px solid var(--line); }
  omni-photos .ask { display: flex; gap: var(--s2); align-items: stretch; }
  omni-photos input, omni-photos select { font: inherit; color: var(--ink); background: var(--raised); border: 1px solid var(--edge); border-radius: var(--round); padding: var(--s2) var(--s3); min-width: 0; }
  omni-photos .ask input { flex: 1; }
  omni-photos button { font: inherit; color: var(--ink); cursor: pointer; }
  omni-photos .plain { border: 1px solid var(--edge); border-radius: var(--round); background: var(--raised); padding: var(--s2) var(--s3); }
  omni-photos .plain:hover { border-color: var(--accent); }
  omni-photos .chips { display: flex; flex-wrap: wrap; gap: var(--s2); }
  omni-photos .chips:empty { display: none; }
  omni-photos .chip { display: flex; align-items: center; gap: var(--s2); background: var(--accent-soft); border: 0; border-radius: 999px; padding: 2px var(--s3) 2px 2px; font-size: var(--small); min-height: 2.25rem; }
  omni-photos .chip img { width: 2rem; height: 2rem; border-radius: 50%; object-fit: cover; }
  omni-photos details summary { cursor: pointer; font-size: var(--small); color: var(--quiet); width: fit-content; }
  omni-photos .more { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: var(--s2); padding-top: var(--s2); }
  omni-photos .more label { display: grid; gap: 2px; font-size: var(--small); color: var(--quiet); }
  omni-photos .more .tick { display: flex; align-items: center; gap: var(--s2); min-height: 2.25rem; align-self: end; }
  omni-photos .more .tick input { width: 1.25rem; height: 1.25rem; margin: 0; accent-color: var(--accent); }
  omni-photos .wall { flex: 1; min-height: 0; overflow-y: auto; padding: var(--s4); }
  omni-photos .state { font-size: var(--small); color: var(--quiet); margin: 0 0 var(--s3); }
  omni-photos .grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: var(--s3); }
  omni-photos .photo { display: grid; gap: var(--s1); padding: 0; border: 0; background: none; text-align: left; border-radius: var(--s2); }
  omni-photos .photo img { width: 100%; aspect-ratio: 4 / 3; object-fit: cover; border-radius: var(--s2); background: var(--sunken); display: block; }
  omni-photos .photo:hover img { outline: 2px solid var(--edge); }
  omni-photos .photo:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; }
  omni-photos .photo span { font-size: var(--small); color: var(--quiet); white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
  omni-photos .further { display: block; margin: var(--s4) auto 0; }
  omni-photos .further[hidden] { display: none; }
  omni-photos .empty { max-width: 30rem; margin: 12vh auto 0; text-align: center; color: var(--quiet); }
  omni-photos .empty code { display: block; margin-top: var(--s2); color: var(--ink); }
  omni-photos.over .wall { outline: 2px dashed var(--accent); outline-offset: -8px; }
  omni-photos dialog { width: min(60rem, 94vw); max-height: 92vh; border: 1px solid var(--line); border-radius: var(--round); background: var(--raised); color: var(--ink); padding: 0; box-shadow: var(--shadow); }
  omni-photos dialog::backdrop { background: rgb(0 0 0 / 55%); }
  omni-photos dialog img { display: block; width: 100%; max-height: 62vh; object-fit: contain; background: var(--sunken); }
  omni-photos .about { padding: var(--s4); display: grid; gap: var(--s2); }
  omni-photos .about p { margin: 0; overflow-wrap: anywhere; }
  omni-photos .about .path { font-family: var(--mono); font-size: var(--small); user-select: all; }
  omni-photos .row { display: flex; flex-wrap: wrap; gap: var(--s2); }
  @container (max-width: 30rem) {
    omni-photos form { padding: var(--s3); }
    omni-photos .wall { padding: var(--s3); }
    omni-photos .grid { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: var(--s2); }
  }
`);
document.adoptedStyleSheets.push(sheet);

const TYPED_MS = 220;
const SIDE = 640;
const PAGE = 60; // photos shown at first, and more each time
const MOST = 500;

customElements.define(
  "omni-photos",
  class extends HTMLElement {
    #like = []; // {id} or {image, shown}
    #asked = 0;
    #timer = 0;
    #shown = [];
    #limit = PAGE;

    async connectedCallback() {
      if (this.firstChild) return; // it is moved between tabs
      this.#build();
      await Promise.all([this.#albums(), this.#search()]);
    }

    #build() {
      const typed = () => {
        clearTimeout(this.#timer);
        this.#timer = setTimeout(() => this.#search(), TYPED_MS);
      };
      this.text = h("input", { type: "search", placeholder: "What do the photos show?", "aria-label": "What the photos show", autocomplete: "off", oninput: typed });
      this.file = h("input", { type: "file", accept: "image/*", hidden: true, onchange: () => this.#example(this.file.files[0]) });
      this.minus = h("input", { placeholder: "dog, car", autocomplete: "off", oninput: typed });
      this.after = h("input", { placeholder: "2024-07", inputMode: "numeric", autocomplete: "off", oninput: typed });
      this.before = h("input", { placeholder: "2025", inputMode: "numeric", autocomplete: "off", oninput: typed });
      this.album = h("select", { onchange: () => this.#search() }, h("option", { value: "" }, "All folders"));
      this.all = h("input", { type: "checkbox", onchange: () => this.#search() });
      this.chips = h("div", { class: "chips" });
      this.state = h("p", { class: "state", role: "status" });
      this.grid = h("div", { class: "grid", onkeydown: (event) => this.#keys(event) });
      this.further = h("button", { type: "button", class: "plain further", hidden: true, onclick: () => this.#search(Math.min(this.#limit + PAGE, MOST)) }, "Show more");
      this.large = h("dialog", { "aria-label": "Photo" });
      this.large.addEventListener("click", (event) => event.target === this.large && this.large.close());
      this.append(
        h("form", { role: "search", onsubmit: (event) => (event.preventDefault(), this.#search()) },
          h("div", { class: "ask" }, this.text, h("button", { type: "button", class: "plain", onclick: () => this.file.click() }, "By picture"), this.file),
          this.chips,
          h("details", {}, h("summary", {}, "Leave out, dates, folder"),
            h("div", { class: "more" },
              h("label", {}, "Leave out", this.minus), h("label", {}, "Taken in or after", this.after), h("label", {}, "Taken before", this.before),
              h("label", {}, "Folder", this.album), h("label", { class: "tick" }, this.all, "Also what hardly fits")))),
        h("div", { class: "wall" }, this.state, this.grid, this.further),
        this.large,
      );
      this.addEventListener("dragover", (event) => (event.preventDefault(), event.stopPropagation(), this.classList.add("over")));
      this.addEventListener("dragleave", () => this.classList.remove("over"));
      this.addEventListener("drop", (event) => {
        event.preventDefault();
        event.stopPropagation();
        this.classList.remove("over");
        this.#example(event.dataTransfer.files[0]);
      });
      this.addEventListener("paste", (event) => {
        const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
        if (file) (event.preventDefault(), event.stopPropagation(), this.#example(file));
      });
    }

    async #albums() {
      try {
        for (const album of await this.omni.call("albums")) this.album.append(h("option", { value: album.root }, `${album.name} (${album.photos})`));
      } catch (error) {
        this.state.replaceChildren(problem(error));
      }
    }

    async #search(limit = PAGE) {
      const asked = ++this.#asked;
      this.#limit = limit;
      const ids = this.#like.filter((one) => one.id).map((one) => one.id);
      const image = this.#like.find((one) => one.image)?.image;
      const text = this.text.value.trim();
      const nothing = !text && !this.#like.length;
      const rest = { minus: this.minus.value, after: this.after.value.trim(), before: this.before.value.trim(), album: this.album.value };
      try {
        const found = await (nothing ? this.omni.call("recent", { limit }) : this.omni.call("search", { text, like: ids, image, strict: !this.all.checked, limit, ...rest }));
        if (asked === this.#asked) this.#show(found, nothing); // an older answer must not replace a newer one
      } catch (error) {
        if (asked === this.#asked) (this.state.replaceChildren(problem(error)), this.grid.replaceChildren(), (this.further.hidden = true));
      }
    }

    #show(found, nothing) {
      this.#shown = found.hits;
      this.grid.replaceChildren(...found.hits.map((hit, index) => this.#photo(hit, index)));
      const count = found.hits.length;
      this.further.hidden = count < this.#limit || count >= Math.min(found.of, MOST);
      const said = nothing ? `${found.of} photos; the newest first` : `${count} of ${found.of} photos fit`;
      this.state.textContent = found.of && (count || !found.note) ? [said, found.note].filter(Boolean).join(". ") : "";
      if (!found.of && nothing) {
        this.grid.replaceChildren();
        this.state.replaceChildren(h("div", { class: "empty" }, "No photo is indexed yet. Name a folder, and everything in it can be found by what it shows:", h("code", {}, "omni photos index ~/Pictures")));
      } else if (!count) {
        const nearest = () => ((this.all.checked = true), this.#search());
        const hint = found.of && !this.all.checked && h("button", { type: "button", class: "plain", onclick: nearest }, "Show the nearest all the same");
        this.state.replaceChildren(h("div", { class: "empty" }, h("p", {}, found.note || "Nothing fits."), hint || ""));
      }
      if (!nothing) announce(count ? `${count} photos` : "no photo fits");
    }

    #photo(hit, index) {
      const label = [hit.words || hit.name, hit.copies > 1 ? `${hit.copies} copies` : ""].filter(Boolean).join(", ");
      return h("button", { type: "button", class: "photo", tabIndex: index ? -1 : 0, title: hit.path, "aria-label": `${hit.name}: ${label}`, onclick: () => this.#enlarge(hit) },
        h("img", { src: this.omni.media(`thumb/${hit.id}`), alt: "", loading: "lazy", decoding: "async" }),
        h("span", {}, hit.words || hit.name));
    }

    #keys(event) {
      const photos = [...this.grid.children];
      const at = photos.indexOf(document.activeElement);
      if (at < 0) return;
      const wide = Math.max(1, photos.findIndex((one) => one.offsetTop > photos[0].offsetTop));
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: wide, ArrowUp: -wide }[event.key];
      if (step) {
        const next = photos[Math.min(photos.length - 1, Math.max(0, at + step))];
        photos[at].tabIndex = -1;
        next.tabIndex = 0;
        next.focus();
        event.preventDefault();
      } else if (event.key.toLowerCase() === "m" && !event.ctrlKey && !event.metaKey) {
        this.#more(this.#shown[at]);
        event.preventDefault();
      }
    }

    #enlarge(hit) {
      const copied = h("span", { role: "status" });
      const copy = async (words) => {
        try {
          await navigator.clipboard.writeText(words);
          copied.textContent = "Copied.";
        } catch {
          copied.textContent = "It could not be copied; mark it and copy by hand.";
        }
      };
      const size = `${hit.width} × ${hit.height}`;
      this.large.replaceChildren(
        h("img", { src: this.omni.media(`large/${hit.id}`), alt: hit.words || hit.name }),
        h("div", { class: "about" },
          h("p", {}, [hit.words, size, hit.taken === null ? "" : when(hit.taken), hit.copies > 1 ? `${hit.copies} copies` : ""].filter(Boolean).join(" · ")),
          h("p", { class: "path" }, hit.path),
          h("div", { class: "row" },
            h("button", { type: "button", class: "plain", onclick: () => (this.large.close(), this.#more(hit)) }, "More like this"),
            h("button", { type: "button", class: "plain", onclick: () => copy(hit.path) }, "Copy path"),
            h("button", { type: "button", class: "plain", onclick: () => copy(hit.folder) }, "Copy folder"),
            h("button", { type: "button", class: "plain", onclick: () => this.large.close() }, "Close"),
            copied)),
      );
      this.large.showModal();
    }

    #more(hit) {
      this.#like = [{ id: hit.id, shown: this.omni.media(`thumb/${hit.id}`) }];
      this.#chips();
      this.#search();
      this.grid.parentElement.scrollTo({ top: 0 });
    }

    async #example(file) {
      if (!file) return;
      try {
        const bitmap = await createImageBitmap(file);
        const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
        const canvas = h("canvas", { width: Math.max(1, Math.round(bitmap.width * scale)), height: Math.max(1, Math.round(bitmap.height * scale)) });
        canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
        const image = canvas.toDataURL("image/jpeg", 0.9);
        this.#like = [{ image, shown: image }];
        this.#chips();
        await this.#search();
      } catch {
        this.state.replaceChildren(problem({ message: "That file is no picture this browser can open.", remedy: "Drop a JPEG or PNG." }));
      }
      this.file.value = "";
    }

    #chips() {
      const drop = (one) => {
        this.#like = this.#like.filter((other) => other !== one);
        this.#chips();
        this.#search();
      };
      this.chips.replaceChildren(...this.#like.map((one) =>
        h("button", { type: "button", class: "chip", "aria-label": "Like this picture; press to take it out", onclick: () => drop(one) },
          h("img", { src: one.shown, alt: "" }), "Like this ✕")));
    }
  },
);
