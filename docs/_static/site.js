// Tables for small screens. Without this script they scroll to the side.
document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll("article table.docutils")) {
    const labels = [...table.querySelectorAll("thead th")].map((cell) => cell.textContent.trim());
    for (const row of table.querySelectorAll("tbody tr")) {
      [...row.cells].forEach((cell, column) => {
        // Of two columns, the second needs no heading.
        if (labels[column] && labels.length > 2) cell.dataset.label = labels[column];
      });
    }
    table.classList.add("labelled");
    // A long name may break behind an underscore, a dot or a slash.
    for (const text of table.querySelectorAll("code span.pre, code:not(:has(span.pre))")) {
      const parts = text.textContent.split(/(?<=[_./:,=])/);
      text.replaceChildren(...parts.flatMap((part, at) => (at ? [document.createElement("wbr"), part] : [part])));
    }
  }
});
