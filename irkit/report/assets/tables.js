"use strict";
// Sorting, copying, and the choice of light or dark: what every page of irkit does. A page is complete without it.

const say = (text) => { document.getElementById("status").textContent = text; };

// A click turns the column to descending, ascending, and back to the order in which the rows stood. Empty cells stay last.
const sortable = (table) => {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (!head.dataset.sort) return;
    const isText = head.dataset.sort === "text";
    const turns = isText ? ["ascending", "descending", null] : ["descending", "ascending", null];
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const turn = turns[(turns.indexOf(head.getAttribute("aria-sort")) + 1) % turns.length];
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      const rows = [...original];
      if (turn) {
        head.setAttribute("aria-sort", turn);
        const sign = turn === "ascending" ? 1 : -1;
        const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
        rows.sort((a, b) => {
          const [x, y] = [key(a), key(b)];
          if (isText) return sign * x.localeCompare(y);
          if (x === "" || y === "") return (x === "") - (y === "");
          return sign * (Number(x) - Number(y));
        });
      }
      body.append(...rows);
      say(turn ? `Sorted by ${button.textContent}, ${turn}` : "In the order in which they stood");
    });
  });
};

const copyable = (button) => {
  const source = document.getElementById(button.dataset.copy);
  const label = button.firstChild;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.textContent);
      label.textContent = "Copied";
    } catch {
      // Some browsers give a local page no clipboard: select the text, so that one key copies it.
      getSelection().selectAllChildren(source);
      label.textContent = "Selected";
    }
    say(label.textContent);
    setTimeout(() => { label.textContent = "Copy"; }, 2000);
  });
};

document.querySelectorAll("table.sortable").forEach(sortable);
document.querySelectorAll("[data-copy]").forEach(copyable);

{
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const show = () => { button.textContent = isDark() ? "Light page" : "Dark page"; };
  button.hidden = false;
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; show(); });
  system.addEventListener("change", show);
  show();
}

addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
