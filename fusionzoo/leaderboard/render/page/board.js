"use strict";
(() => {
  const told = JSON.parse(document.getElementById("boards").textContent);
  const root = document.documentElement;
  root.classList.add("js");

  // ---- text ----
  const escapes = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  const esc = (value) => String(value).replace(/[&<>"]/g, (c) => escapes[c]);
  const known = (value) => value !== null && value !== undefined;
  const fixed = (value, digits) => (known(value) ? value.toFixed(digits) : "–");
  const signed = (value, digits) =>
    known(value) ? (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits) : "–";
  const significant = (value) =>
    known(value) ? Number(value.toPrecision(3)).toLocaleString("en-US", { maximumFractionDigits: 9 }) : "–";
  const pText = (p) => (p < 0.001 ? "p < 0.001" : "p = " + p.toFixed(3));
  const noted = (text) => esc(text).replace(/`([^`]+)`/g, "<code>$1</code>");
  const options = (given) =>
    Object.entries(given || {}).map(([k, v]) => `${k}=${typeof v === "object" ? JSON.stringify(v) : v}`).join(", ");
  const pairs = (entries) =>
    "<dl>" + entries.filter(([, v]) => known(v) && v !== "")
      .map(([k, v]) => `<dt>${esc(k)}</dt><dd>${v}</dd>`).join("") + "</dl>";
  const code = (value) => `<code>${esc(value).replaceAll("-&gt;", '<span class="nb">-&gt;</span>')}</code>`;

  // ---- light and dark ----
  const themes = ["system", "light", "dark"];
  const themeButton = document.querySelector(".theme");
  let theme = "system";
  try { theme = localStorage.getItem("fusionzoo-theme") || "system"; } catch (error) { /* no storage */ }
  const setTheme = (name) => {
    theme = themes.includes(name) ? name : "system";
    if (theme === "system") delete root.dataset.theme; else root.dataset.theme = theme;
    themeButton.textContent = "Theme: " + theme;
    try { localStorage.setItem("fusionzoo-theme", theme); } catch (error) { /* no storage */ }
  };
  setTheme(theme);
  themeButton.addEventListener("click", () => setTheme(themes[(themes.indexOf(theme) + 1) % 3]));

  // ---- one board ----
  class Board {
    constructor(section) {
      this.section = section;
      this.data = told.boards[Number(section.dataset.board)];
      this.table = section.querySelector("table");
      this.body = this.table.tBodies[0];
      this.heads = [...this.table.tHead.rows[0].cells];
      this.keys = this.heads.map((head) => head.dataset.key);
      this.columns = Object.fromEntries(this.data.columns.map((column) => [column.key, column]));
      const later = section.querySelector("template");
      this.lines = [...this.body.rows, ...(later ? later.content.querySelectorAll("tr") : [])];
      this.words = this.data.rows.map((row) =>
        [row.label, row.spec, row.category, row.basis, row.state, row.remark, row.note].join(" ").toLowerCase());
      this.sorted = { key: "rank", down: false };
      this.limit = 200;
      this.find = section.querySelector(".find input");
      this.show = section.querySelector(".show");
      this.sort = section.querySelector(".sort");
      this.count = section.querySelector(".count");
      this.current = null;
      this.listen();
      this.draw();
    }

    listen() {
      this.find.addEventListener("input", () => this.draw());
      this.show.addEventListener("change", () => this.draw());
      for (const head of this.heads) {
        const button = head.querySelector("button");
        if (!button) continue;
        button.addEventListener("click", () => this.sortBy(head.dataset.key));
        this.sort.add(new Option(button.textContent, head.dataset.key));
      }
      this.sort.addEventListener("change", () => this.sortBy(this.sort.value, true));
      for (const button of this.section.querySelectorAll(".groups button")) {
        button.addEventListener("click", () => {
          const on = button.getAttribute("aria-pressed") !== "true";
          button.setAttribute("aria-pressed", String(on));
          this.table.classList.toggle("hide-" + button.dataset.group, !on);
        });
      }
      this.body.addEventListener("click", (event) => {
        const cell = event.target.closest("td, th");
        if (cell && !String(getSelection())) { this.point(cell); this.open(cell); }
      });
      this.body.addEventListener("keydown", (event) => this.key(event));
      new IntersectionObserver((seen) => {
        if (seen.some((one) => one.isIntersecting) && this.limit < this.order.length) {
          this.limit += 200;
          this.fill();
        }
      }, { rootMargin: "600px" }).observe(this.sentinel());
    }

    sentinel() {
      const mark = document.createElement("div");
      this.section.querySelector(".scroll").after(mark);
      return mark;
    }

    // ---- sort and filter ----
    value(row, key) {
      if (key === "rank") return row.tier || null;
      if (key === "model") return row.label.toLowerCase();
      if (key === "gap") return row.tier ? row.gap : null;
      if (key === "verdict") {
        const all = Object.values(row.figures).map((figure) => figure.published && figure.published.verdict);
        return ["differs", "reproduced", "not testable here"].findIndex((verdict) => all.includes(verdict)) + 1 || null;
      }
      const figure = row.figures[key];
      return figure && known(figure.value) ? figure.value : null;
    }

    sortBy(key, fresh = false) {
      const column = this.columns[key];
      const first = key === "gap" || Boolean(column && column.higher_is_better);
      const same = this.sorted.key === key && !fresh;
      this.sorted = { key, down: same ? !this.sorted.down : first };
      this.draw();
    }

    kept(row, index) {
      const words = this.find.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
      if (!words.every((word) => this.words[index].includes(word))) return false;
      const [what, wanted] = this.show.value.split(":");
      if (what === "tier") return row.tier === Number(wanted);
      if (what === "state") return row.state === wanted;
      if (what === "verdict")
        return Object.values(row.figures).some((f) => f.published && f.published.verdict === wanted);
      return true;
    }

    draw() {
      const { key, down } = this.sorted;
      const rows = this.data.rows;
      const values = rows.map((row) => this.value(row, key));
      this.order = rows.map((_, index) => index).filter((index) => this.kept(rows[index], index));
      this.order.sort((a, b) => {
        const [x, y] = [values[a], values[b]];
        if (x === null || y === null) return (x === null) - (y === null) || a - b;
        if (x === y) return a - b;
        return (x < y ? -1 : 1) * (down ? -1 : 1);
      });
      this.heads.forEach((head) => {
        if (head.dataset.key === key) head.setAttribute("aria-sort", down ? "descending" : "ascending");
        else head.removeAttribute("aria-sort");
      });
      this.sort.value = key;
      this.limit = 200;
      this.fill();
      const all = rows.length;
      this.count.textContent = this.order.length === all ? `${all} rows` : `${this.order.length} of ${all} rows`;
    }

    fill() {
      const shown = this.order.slice(0, this.limit);
      let before = null;
      for (const index of shown) {
        const tier = this.data.rows[index].tier;
        const apart = this.sorted.key === "rank" && before !== null && tier !== before;
        this.lines[index].classList.toggle("apart", apart);
        before = tier;
      }
      this.body.replaceChildren(...shown.map((index) => this.lines[index]));
      const first = this.body.querySelector("th.model");
      if (first && !(this.current && this.current.isConnected)) this.point(first, false);
    }

    // ---- keyboard ----
    point(cell, focus = true) {
      if (this.current) this.current.tabIndex = -1;
      this.current = cell;
      cell.tabIndex = 0;
      if (focus) cell.focus();
    }

    key(event) {
      const cell = event.target.closest("td, th");
      if (!cell) return;
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        this.open(cell);
        return;
      }
      const next = this.neighbour(cell, event.key);
      if (next) { event.preventDefault(); this.point(next); }
    }

    neighbour(cell, key) {
      const line = cell.parentElement;
      const seen = [...line.cells].filter((one) => one.offsetParent !== null);
      const place = seen.indexOf(cell);
      if (key === "ArrowRight") return seen[place + 1];
      if (key === "ArrowLeft") return seen[place - 1];
      if (key === "Home") return seen[0];
      if (key === "End") return seen[seen.length - 1];
      const other = key === "ArrowDown" ? line.nextElementSibling : key === "ArrowUp" ? line.previousElementSibling : null;
      return other ? other.cells[cell.cellIndex] : null;
    }

    // ---- where a number is from ----
    open(cell) {
      const row = this.data.rows[Number(cell.parentElement.dataset.row)];
      let key = this.keys[cell.cellIndex];
      if (["forest", "gap", "rank"].includes(key)) key = this.data.ranked_by;
      const column = this.columns[key];
      const figure = column && row.figures[key];
      const parts = figure ? [this.figure(row, column, figure)] : [];
      if (key === this.data.ranked_by) parts.push(this.standing(row));
      if (!column || !figure) parts.push(this.printed(row));
      parts.push(this.row(row), this.runs(row, column));
      origin.open(figure ? `${row.label}: ${column.label}` : row.label, parts.join(""), cell);
    }

    figure(row, column, figure) {
      const cost = column.group === "cost";
      const digits = column.decimals;
      const value = cost ? significant(figure.value) : fixed(figure.value, digits);
      const unit = column.unit ? ` <small>${esc(column.unit)}</small>` : "";
      const sd = known(figure.sd) ? `<small>± ${fixed(figure.sd, digits)} over folds</small>` : "";
      const level = 100 * this.data.options.level;
      const limits = known(figure.low)
        ? `${level}% interval ${fixed(figure.low, digits)} to ${fixed(figure.high, digits)}` : "";
      const folds = Object.entries(figure.by_fold || {});
      const judged = figure.published;
      return `<div class="big">${value}${unit}${sd}</div><p>${esc(column.about)}.</p>` +
        (limits ? `<p>${limits}, ${esc(this.how())}.</p>` : "") +
        (figure.reason ? `<p>${esc(figure.reason)}</p>` : "") +
        (folds.length > 1 ? "<h3>Each fold</h3>" + pairs(folds.map(([f, v]) => [f, fixed(v, digits)])) : "") +
        (judged ? "<h3>Printed number</h3>" + this.judged(judged, digits) : "");
    }

    how() {
      const { test, replicates } = this.data.options;
      return test === "cases"
        ? `from ${replicates} draws of the patients of all folds, with all their cases`
        : "for a model trained anew, by the corrected t-test over folds";
    }

    judged(judged, digits) {
      const sd = known(judged.sd) ? ` ± ${fixed(judged.sd, digits)}` : "";
      return pairs([
        ["printed", fixed(judged.value, digits) + sd],
        ["ours − printed", signed(judged.gap, digits)],
        ["interval", known(judged.low) ? `${signed(judged.low, digits)} to ${signed(judged.high, digits)}` : ""],
        ["verdict", esc(judged.verdict)],
        ["why", esc(judged.reason)],
        ["source", esc(this.data.source)],
      ]);
    }

    standing(row) {
      if (!row.tier) return "<h3>Rank</h3><p>Not ranked.</p>";
      const same = this.data.rows.filter((other) => other.tier === row.tier && other !== row);
      const digits = this.columns[this.data.ranked_by].decimals;
      const limits = known(row.low) ? ` (${signed(row.low, digits)} to ${signed(row.high, digits)})` : "";
      const gap = known(row.p)
        ? `${signed(row.gap, digits)}${limits}, ${pText(row.p)} (${esc(this.data.comparisons.correction)})`
        : "it is the best row";
      return "<h3>Rank</h3>" + pairs([
        ["rank", row.tier],
        ["shared with", esc(same.map((other) => other.label).join("; ")) || "nobody"],
        ["to the best", gap],
        ["test", esc(this.data.comparisons.method)],
      ]);
    }

    printed(row) {
      const judged = Object.entries(row.figures).filter(([, figure]) => figure.published);
      if (!judged.length) return "";
      const lines = judged.map(([key, figure]) => {
        const digits = this.columns[key].decimals;
        const printed = figure.published;
        return `<tr><td>${esc(this.columns[key].label)}</td><td>${fixed(figure.value, digits)}</td>` +
          `<td>${fixed(printed.value, digits)}</td><td>${signed(printed.gap, digits)}</td>` +
          `<td>${esc(printed.verdict)}<span class="remark">${esc(printed.reason)}</span></td></tr>`;
      });
      return "<h3>Printed numbers</h3><table><thead><tr><th>metric</th><th>ours</th><th>printed</th>" +
        `<th>gap</th><th>verdict</th></tr></thead><tbody>${lines.join("")}</tbody></table>`;
    }

    row(row) {
      const missing = row.missing.map((one) =>
        `<tr><td>${esc(one.place)}</td><td>${esc(one.kind)}</td><td>${esc(one.reason)}</td></tr>`);
      return "<h3>Row</h3>" + pairs([
        ["spec", code(row.spec)],
        ["category", esc(row.category)],
        ["basis", esc(row.basis)],
        ["note", noted(row.note)],
        ["state", esc(row.remark ? `${row.state}: ${row.remark}` : row.state)],
      ]) + (missing.length
        ? "<h3>Runs that are missing</h3><table><thead><tr><th>run</th><th>why</th><th></th></tr></thead>" +
          `<tbody>${missing.join("")}</tbody></table>` : "");
    }

    runs(row, column) {
      if (!row.runs.length) return "";
      const facts = row.runs.map((id) => {
        const own = told.runs[id];
        return { ...told.shared[own.shared], ...own };
      });
      const metric = column && column.metric;
      const told1 = facts.map((run) => {
        const scores = metric && run.scores[column.task] && run.scores[column.task][metric];
        const cost = column && !metric ? run.cost[column.key.slice(5)] : null;
        const digits = column ? column.decimals : 3;
        const value = scores
          ? `${fixed(scores[0], digits)}${known(scores[1]) ? ` (${fixed(scores[1], digits)}–${fixed(scores[2], digits)})` : ""}`
          : known(cost) ? significant(cost) : "";
        return `<details><summary>${known(run.fold) ? `fold ${run.fold}, ` : ""}seed ${run.seed}` +
          `${value ? `: ${value}` : ""}</summary>${this.run(run)}</details>`;
      });
      return `<h3>${facts.length === 1 ? "Its run" : `Its ${facts.length} runs`}</h3>${told1.join("")}`;
    }

    run(run) {
      const { hardware, versions } = run.environment;
      return pairs([
        ["run", code(run.run_id)],
        ["spec", code(run.spec)],
        ["options", Object.entries(run.options).map(([part, given]) => `${code(part)} ${esc(options(given))}`).join("<br>")],
        ["conversions", run.conversions.map(esc).join("<br>")],
        ["data set", esc(run.dataset) + (options(run.dataset_options) ? ` (${esc(options(run.dataset_options))})` : "")],
        ["data digest", code(run.data_digest)],
        ["split", esc(run.split_scheme)],
        ["split digest", code(run.split_digest)],
        ["cases", esc(options(run.counts))],
        ["seed", run.seed],
        ["settings", esc(options(run.settings))],
        ["thresholds", esc(options(run.thresholds)) + (Object.keys(run.thresholds).length ? ` (${esc(run.threshold_rule)}, on validation data)` : "")],
        ["predictions digest", code(run.predictions_digest)],
        ["protocol", esc(run.protocol)],
        ["code", code(run.environment.commit || "unknown") + (run.environment.dirty ? " with changes" : "")],
        ["versions", esc(options({ python: run.environment.python, ...versions }))],
        ["kernels", esc(options(run.environment.kernels))],
        ["machine", esc(`${hardware.gpu ? hardware.gpu + ", " : ""}${hardware.cpu}, ${hardware.cores} cores, ${run.environment.platform}`)],
        ["trained", esc(`${run.started} to ${run.finished}`)],
      ]);
    }
  }

  // ---- the panel that opens ----
  const dialog = document.getElementById("origin");
  const origin = {
    back: null,
    open(title, html, cell) {
      this.back = cell;
      document.getElementById("origin-title").textContent = title;
      const body = dialog.querySelector(".body");
      body.innerHTML = html;
      dialog.showModal();
      body.focus();
      dialog.scrollTop = 0;
    },
  };
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => { if (origin.back) origin.back.focus(); });

  // ---- drawings ----
  for (const plot of document.querySelectorAll(".pareto")) {
    plot.querySelector(".choices").addEventListener("change", (event) => {
      for (const figure of plot.querySelectorAll("figure"))
        figure.hidden = figure.dataset.cost !== event.target.value;
    });
  }

  for (const section of document.querySelectorAll("section.board")) new Board(section);
})();
