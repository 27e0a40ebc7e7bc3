// Claim cards: every figure Omni claims, beside its baseline, its control and what was expected.

import { get } from "../api.js";
import { h, seconds, when } from "../dom.js";

const number = (value) => (value === null ? "not measured" : typeof value === "number" ? Number(value.toPrecision(4)).toLocaleString() : typeof value === "object" ? JSON.stringify(value) : String(value ?? ""));

export async function render(root) {
  const { cards } = await get("/api/cards");
  if (!cards.length) {
    root.append(h("p", { class: "empty" }, "No measurements here yet. ", h("code", {}, "make bench-voice"), " makes the first card: it measures on your machine what is claimed of it."));
    return;
  }
  root.append(h("p", { class: "quiet" }, "Each card is one measurement on the machine it names. ", h("code", {}, "make bench-NAME"), " repeats it on yours."));
  root.append(h("div", { class: "cards" }, cards.map(card)));
}

function card(c) {
  const columns = ["figures", "baseline", "control"].filter((k) => c[k] && Object.keys(c[k]).length);
  const keys = [...new Set([...Object.keys(c.figures ?? {}), ...Object.keys(c.expected ?? {})])];
  const title = { figures: "Omni", baseline: "baseline", control: "control" };
  return h("article", { class: "card" },
    h("div", { class: "head" }, h("h2", {}, c.bench.replaceAll("_", " ")), h("span", { class: `badge ${c.pass ? "ready" : "degraded"}` }, c.pass ? "as expected" : "not as expected")),
    h("div", { class: "scroll", tabindex: "0" }, h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "figure"), columns.map((k) => h("th", { scope: "col" }, title[k])), h("th", { scope: "col" }, "expected"))),
      h("tbody", {}, keys.map((key) => h("tr", {}, h("th", { scope: "row" }, key), columns.map((k) => h("td", {}, number(c[k][key]))), h("td", {}, c.expected?.[key] ?? "")))))),
    (c.notes ?? []).map((note) => h("p", {}, note)),
    h("p", { class: "quiet" }, [c.hardware, c.seconds ? `took ${seconds(c.seconds)}` : "", c.measured ? when(c.measured) : "", c.quick ? "quick run" : ""].filter(Boolean).join(" · ")));
}
