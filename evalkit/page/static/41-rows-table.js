{
  // A table of many rows of which those in sight are in the document. All rows are of one height, so that where each
  // lies is known without drawing it; numbers of rows are said to assistive technology by aria-rowindex.

  const MORE = 8; // rows that are drawn above and below those in sight
  const PRINTED = 300; // rows that are printed

  class Table {
    // columns: {key, title, label, width (rem), kind, cell(row) → node or text, tone(row)}
    constructor({ region, table, heights, address, opened, sort }) {
      Object.assign(this, { region, table, heights, address, opened, sort });
      [this.head] = table.tHead ? [table.tHead] : [];
      [this.above, this.body, this.below] = table.tBodies;
      this.rows = new Uint32Array(0);
      this.columns = [];
      this.drawn = new Map();
      this.active = 0;
      this.current = null;
      this.printing = false;
      this.asked = false;
      region.addEventListener("scroll", () => this.soon(), { passive: true });
      new ResizeObserver(() => this.soon()).observe(region);
      region.addEventListener("keydown", (event) => this.key(event));
      this.body.addEventListener("click", (event) => this.click(event));
      this.body.addEventListener("focusin", (event) => {
        const row = event.target.closest("tr");
        this.activate(Number(row.dataset.at));
      });
      window.addEventListener("beforeprint", () => this.print(true));
      window.addEventListener("afterprint", () => this.print(false));
    }

    // new columns: the head is written anew
    withColumns(columns) {
      this.columns = columns;
      this.table.querySelector("colgroup")?.remove();
      const widths = document.createElement("colgroup");
      for (const column of columns) {
        const col = document.createElement("col");
        if (column.width) {
          col.style.width = `${column.width}rem`;
        }
        widths.append(col);
      }
      this.table.caption.after(widths);
      const least = columns.reduce((sum, column) => sum + (column.width || 15), 0);
      this.table.style.setProperty("--rows-least", `${least}rem`);
      this.head.replaceChildren(...this.headings());
      this.heads = this.head.rows.length;
      for (const space of [this.above, this.below]) {
        space.rows[0].cells[0].colSpan = columns.length;
      }
      this.drawn.clear();
      this.body.replaceChildren();
    }

    // one row of headings, or two where columns belong together
    headings() {
      const grouped = this.columns.some((column) => column.group);
      const rows = [document.createElement("tr")];
      if (grouped) {
        rows.unshift(document.createElement("tr"));
        let last = null;
        for (const column of this.columns) {
          if (column.group && last?.textContent === column.group) {
            last.colSpan += 1;
            continue;
          }
          last = document.createElement(column.group ? "th" : "td");
          if (column.group) {
            last.scope = "colgroup";
            last.setAttribute("role", "columnheader");
            last.textContent = column.group;
            last.className = "rows-group";
          } else {
            last.setAttribute("role", "cell");
          }
          rows[0].append(last);
        }
      }
      rows.forEach((row, i) => {
        row.setAttribute("role", "row");
        row.setAttribute("aria-rowindex", i + 1);
      });
      const row = rows.at(-1);
      for (const column of this.columns) {
        const head = document.createElement("th");
        head.scope = "col";
        head.setAttribute("role", "columnheader");
        head.className = `rows-${column.kind}${column.starts ? " rows-starts" : ""}`;
        const button = document.createElement("button");
        button.type = "button";
        if (column.group) {
          const said = document.createElement("span");
          said.className = "page-unseen";
          said.textContent = `${column.group}, `;
          button.append(said);
        }
        button.append(column.title);
        button.addEventListener("click", () => this.sort(column.key));
        head.dataset.key = column.key;
        head.append(button);
        row.append(head);
      }
      return rows;
    }

    markSorted(sorted) {
      for (const head of this.head.querySelectorAll("th[data-key]")) {
        if (head.dataset.key === sorted.key) {
          head.setAttribute("aria-sort", sorted.descending ? "descending" : "ascending");
        } else {
          head.removeAttribute("aria-sort");
        }
      }
    }

    // other rows, from the first
    show(rows) {
      this.rows = rows;
      this.table.setAttribute("aria-rowcount", rows.length + this.heads);
      this.active = 0;
      this.drawn.clear();
      this.body.replaceChildren();
      this.region.scrollTop = 0;
      this.draw();
    }

    soon() {
      if (!this.asked) {
        this.asked = true;
        requestAnimationFrame(() => {
          this.asked = false;
          this.draw();
        });
      }
    }

    // the head stays at the top of the region
    visible() {
      const height = this.heights();
      const head = this.head.offsetHeight;
      const room = Math.max(0, this.region.clientHeight - head);
      return { height, room, first: this.region.scrollTop / height, fit: Math.max(1, Math.floor(room / height)) };
    }

    draw() {
      const { height, room, first } = this.visible();
      const count = this.rows.length;
      let from = Math.max(0, Math.floor(first) - MORE);
      let to = Math.min(count, Math.ceil(first + room / height) + MORE);
      if (this.printing) {
        [from, to] = [0, Math.min(count, PRINTED)];
      }
      const focused = Number(document.activeElement.closest(".rows-body tr")?.dataset.at ?? Number.NaN);
      if (focused < from || focused >= to) {
        // keys go on from the row that was left; removing what has the focus would measure a table half drawn
        this.region.focus({ preventScroll: true });
      }
      this.table.style.setProperty("--rows-height", `${height}px`);
      this.table.style.setProperty("--rows-above", `${from * height}px`);
      this.table.style.setProperty("--rows-below", `${this.printing ? 0 : (count - to) * height}px`);
      const wanted = [];
      for (let at = from; at < to; at += 1) {
        if (!this.drawn.has(at)) {
          this.drawn.set(at, this.row(at));
        }
        wanted.push(this.drawn.get(at));
      }
      for (const [at, row] of this.drawn) {
        if (at < from || at >= to) {
          row.remove();
          this.drawn.delete(at);
        }
      }
      let before = this.body.firstChild;
      for (const row of wanted) {
        if (row === before) {
          before = before.nextSibling;
        } else {
          this.body.insertBefore(row, before);
        }
      }
    }

    row(at) {
      const of = this.rows[at];
      const row = document.createElement("tr");
      row.setAttribute("role", "row");
      row.setAttribute("aria-rowindex", at + this.heads + 1);
      row.dataset.at = at;
      if (this.opened(of)) {
        row.setAttribute("aria-current", "true");
      }
      for (const column of this.columns) {
        const cell = document.createElement(column.kind === "id" ? "th" : "td");
        cell.className = `rows-${column.kind}${column.starts ? " rows-starts" : ""}`;
        cell.dataset.label = column.label ?? column.title;
        if (column.kind === "id") {
          cell.scope = "row";
          cell.setAttribute("role", "rowheader");
          const link = document.createElement("a");
          link.href = this.address(of);
          link.tabIndex = at === this.active ? 0 : -1;
          link.append(column.cell(of));
          cell.append(link);
        } else {
          cell.setAttribute("role", "cell");
          if (column.kind === "caption") {
            const lines = document.createElement("span");
            lines.append(column.cell(of));
            cell.append(lines);
          } else {
            cell.append(column.cell(of));
          }
          if (column.tone?.(of)) {
            cell.dataset.tone = column.tone(of);
          }
        }
        row.append(cell);
      }
      return row;
    }

    // which row the tabulator key reaches
    activate(at) {
      const link = (place) => this.drawn.get(place)?.querySelector("a");
      link(this.active)?.setAttribute("tabindex", "-1");
      this.active = at;
      link(at)?.setAttribute("tabindex", "0");
    }

    // scroll to a row; what is read before and after it is in sight too
    reveal(at, middle = false) {
      const { height, room, first } = this.visible();
      const shown = room / height;
      let place = first;
      if (middle) {
        place = at - (shown - 1) / 2;
      } else if (at < first) {
        place = at;
      } else if (at + 1 > first + shown) {
        place = at + 1 - shown;
      }
      if (place !== first) {
        this.region.scrollTop = Math.max(0, place * height);
        this.draw();
      }
    }

    focus(at) {
      this.reveal(at);
      this.activate(at);
      this.drawn.get(at)?.querySelector("a").focus({ preventScroll: true });
    }

    key(event) {
      const inside = this.body.contains(event.target) || event.target === this.region;
      if (!inside || event.altKey || event.ctrlKey || event.metaKey || this.rows.length === 0) {
        return;
      }
      const { fit } = this.visible();
      const steps = {
        ArrowDown: 1,
        ArrowUp: -1,
        PageDown: fit,
        PageUp: -fit,
        Home: -this.rows.length,
        End: this.rows.length,
      };
      if (event.key in steps) {
        event.preventDefault();
        this.focus(Math.min(this.rows.length - 1, Math.max(0, this.active + steps[event.key])));
      }
    }

    click(event) {
      const row = event.target.closest("tr");
      const elsewhere = event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0;
      if (row === null || elsewhere || !getSelection().isCollapsed) {
        return; // a new tab, a new window, or text that is being marked
      }
      event.preventDefault();
      this.activate(Number(row.dataset.at));
      this.opens(Number(row.dataset.at));
    }

    // which row is open, if any
    mark() {
      for (const [at, row] of this.drawn) {
        if (this.opened(this.rows[at])) {
          row.setAttribute("aria-current", "true");
        } else {
          row.removeAttribute("aria-current");
        }
      }
    }

    print(on) {
      this.printing = on;
      this.draw();
      this.printed?.(on ? Math.min(this.rows.length, PRINTED) : 0, this.rows.length);
    }
  }

  evalkit.rows.Table = Table;
}
