// Past conversations: search, read, go on, export, delete.

import { del, get, post } from "../api.js";
import { announce, h, problem, when } from "../dom.js";
import { formatted } from "../text.js";

export async function render(root, { line, go }) {
  const list = h("ul", { class: "rows" });
  const search = h("input", { type: "search", "aria-label": "Search in all conversations", placeholder: "Search in all conversations", maxlength: "500" });
  let timer = 0;
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(fill, 250);
  });
  const fresh = h("button", { onclick: () => { line.switchTo(""); go("#/"); } }, "New conversation");

  async function fill() {
    try {
      const { conversations } = await get(`/api/conversations?query=${encodeURIComponent(search.value.trim())}`);
      list.replaceChildren(...conversations.map(row));
      if (!conversations.length) {
        list.append(h("li", { class: "empty" }, search.value ? "Nothing fits. Try fewer words." : "Conversations appear here once you have talked. Press Start on the Talk page, or type a message."));
      }
    } catch (error) {
      list.replaceChildren(h("li", {}, problem(error)));
    }
  }

  function row(past) {
    const body = h("div", { class: "past", hidden: true });
    const open = h("button", { class: "plain title", "aria-expanded": "false", onclick: () => toggle() }, past.title);
    const resume = h("button", { onclick: () => attempt(async () => { const { session } = await post(`/api/conversations/${past.id}/resume`); line.switchTo(session); go("#/"); }) }, past.id === line.session ? "Open" : "Go on");
    const remove = h("button", { class: "danger", onclick: () => ask() }, "Delete");
    const actions = h("div", { class: "row" }, resume,
      h("a", { class: "button", href: `/api/conversations/${past.id}/export?format=md`, download: "" }, "Markdown"),
      h("a", { class: "button", href: `/api/conversations/${past.id}/export?format=json`, download: "" }, "JSON"), remove);
    const item = h("li", { class: "item-row" }, h("div", { class: "head" }, open, h("span", { class: "quiet" }, `${when(past.ended)} · ${past.turns} ${past.turns === 1 ? "turn" : "turns"}${past.open ? " · open" : ""}`)), actions, body);

    async function attempt(work) {
      try {
        await work();
      } catch (error) {
        item.append(problem(error));
      }
    }
    function ask() {
      const yes = h("button", { class: "danger", onclick: () => attempt(async () => { await del(`/api/conversations/${past.id}`); item.remove(); announce("Deleted"); if (!list.childElementCount) await fill(); }) }, "Delete for good");
      const no = h("button", { onclick: () => sure.replaceWith(remove) }, "Keep it");
      const sure = h("span", { class: "row" }, yes, no);
      remove.replaceWith(sure);
      no.focus();
    }
    function toggle() {
      body.hidden = !body.hidden;
      open.setAttribute("aria-expanded", String(!body.hidden));
      if (!body.hidden && !body.childElementCount) {
        attempt(async () => {
          const { list: turns } = await get(`/api/conversations/${past.id}`);
          body.replaceChildren(...turns.map((t) => h("div", { class: "turn" }, h("p", { class: "asked" }, h("span", { class: "who" }, "You"), t.asked),
            h("div", { class: "reply" }, h("span", { class: "who" }, "Omni"), h("div", { class: "answer" }, formatted(t.heard || ""), t.cut ? h("p", { class: "cut" }, "Interrupted here") : null)))));
        });
      }
    }
    return item;
  }

  root.append(h("div", { class: "row wide" }, search, fresh), list);
  await fill();
}
