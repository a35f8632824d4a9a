// Sorts and filters the tables, and highlights a group of the map. The page is complete without it.
document.documentElement.classList.add("scripted");

for (const table of document.querySelectorAll("table.data")) {
  const body = table.tBodies[0], rows = [...body.rows], card = table.closest(".card");
  const input = card.querySelector("input"), count = card.querySelector("output");
  const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent;

  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/);
    for (const row of rows) row.hidden = !words.every(word => row.textContent.toLowerCase().includes(word));
    count.textContent = `${rows.filter(row => !row.hidden).length} of ${rows.length} rows`;
  });

  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    const button = document.createElement("button");
    button.append(...cell.childNodes);
    cell.append(button);
    let sign = -1;
    button.addEventListener("click", () => {
      sign = -sign;
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      rows.sort((a, b) => sign * value(a, column).localeCompare(value(b, column), undefined, { numeric: true }));
      body.append(...rows);
    });
  });
}

const points = document.querySelector(".points");
for (const item of document.querySelectorAll(".legend li")) {
  item.addEventListener("click", () => {
    const picked = item.classList.toggle("on");
    for (const other of item.parentElement.children) if (other !== item) other.classList.remove("on");
    points.classList.toggle("picked", picked);
    for (const circle of points.children) {
      const groups = [...circle.classList, ...(circle.dataset.also ?? "").split(" ")];
      circle.classList.toggle("on", picked && groups.includes(item.dataset.group));
    }
  });
}
