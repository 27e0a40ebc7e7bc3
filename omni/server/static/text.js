// An answer's text as elements: paragraphs, lists, code, bold. No markup from outside ever becomes HTML.

import { h } from "./dom.js";

/** The elements of a finished answer. */
export function formatted(text) {
  const parts = text.split(/^```(\w*)[^\n]*\n([\s\S]*?)(?:^```[^\n]*$|$(?![\s\S]))/m);
  const nodes = [];
  for (let i = 0; i < parts.length; i += 3) {
    nodes.push(...blocks(parts[i]));
    if (i + 2 < parts.length) nodes.push(h("pre", { tabindex: "0" }, h("code", {}, parts[i + 2].replace(/\n$/, ""))));
  }
  return nodes;
}

function blocks(text) {
  return text
    .split(/\n\s*\n/)
    .map((block) => block.trim())
    .filter(Boolean)
    .map((block) => {
      const lines = block.split("\n");
      const bullet = /^\s*[-*•]\s+/;
      const number = /^\s*\d+[.)]\s+/;
      for (const [mark, tag] of [[bullet, "ul"], [number, "ol"]]) {
        if (lines.length && lines.every((line) => mark.test(line))) {
          return h(tag, {}, lines.map((line) => h("li", {}, inline(line.replace(mark, "")))));
        }
      }
      return h("p", {}, inline(block.replace(/^#+\s+/, "")));
    });
}

function inline(text) {
  return text.split(/(`[^`\n]+`|\*\*[^*\n]+\*\*)/).map((part) => {
    if (/^`[^`]+`$/.test(part)) return h("code", {}, part.slice(1, -1));
    if (/^\*\*[^*]+\*\*$/.test(part)) return h("strong", {}, part.slice(2, -2));
    return part;
  });
}

const bare = (word) => word.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");

/** How many characters of `text` were heard, given the heard words (which lack marks that can't be spoken). */
export function heardLength(text, heard) {
  const said = heard.split(/\s+/).map(bare).filter(Boolean);
  let next = 0;
  let end = 0;
  for (const match of text.matchAll(/\S+/g)) {
    if (next >= said.length) break;
    const word = bare(match[0]);
    if (!word) continue;
    const found = said.slice(next, next + 4).indexOf(word);
    if (found >= 0) {
      next += found + 1;
      end = match.index + match[0].length;
    }
  }
  return end;
}
