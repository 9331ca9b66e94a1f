// The explorer's two drawings: the differences of all queries, and all pipelines on one query.
const pictures = {};
{
  // -- the strip: every query's difference, losses on the left and wins on the right ------------------------------------------

  pictures.strip = (onPick) => {
    const [W, H] = [1000, 100];
    let rows = [];
    let at = -1;
    const area = (kind) => svg("path", { class: kind });
    const [lost, won] = [area("lost"), area("won")];
    const zero = svg("path", { class: "axis" });
    const mark = svg("path", { class: "here" });
    const slider = h("div", { class: "strip", role: "slider", tabindex: "0", "aria-valuemin": "1", "aria-label": "Queries by difference" },
      svg("svg", { width: "100%", height: H, viewBox: `0 0 ${W} ${H}`, preserveAspectRatio: "none", "aria-hidden": "true",
        focusable: "false" }, lost, won, zero, mark));
    const ends = h("p", { class: "ends", "aria-hidden": "true" });
    const box = h("figure", { class: "strip-box" }, h("figcaption", { class: "note" }), slider, ends);
    const go = (to) => { if (rows.length) onPick(rows[Math.max(0, Math.min(rows.length - 1, to))].row); };
    slider.addEventListener("click", (event) => {
      const frame = slider.getBoundingClientRect();
      go(Math.floor((rows.length * (event.clientX - frame.left)) / frame.width));
    });
    slider.addEventListener("keydown", (event) => {
      const leap = Math.max(1, Math.round(rows.length / 10));
      const to = { ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1, PageDown: at - leap, PageUp: at + leap,
        Home: 0, End: rows.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      go(to);
    });
    const select = (row) => {
      at = rows.findIndex((each) => each.row === row);
      mark.setAttribute("d", at < 0 ? "M0 0" : `M${((at + 0.5) * W) / rows.length} 0V${H}`);
      slider.setAttribute("aria-valuenow", String(Math.max(1, at + 1)));
      slider.setAttribute("aria-valuetext", at < 0 ? "no query of these" : `query ${rows[at].qid}, ${rows[at].text}`);
    };
    // `next` are {row, qid, value, text} in ascending order; `signed`: whether the values are differences.
    const draw = (next, caption, labels, signed) => {
      rows = next;
      box.hidden = !rows.length;
      box.firstChild.replaceChildren(...caption.flat());
      const top = Math.max(page.main.tie, ...[rows[0], rows[rows.length - 1]].map((each) => Math.abs(each?.value ?? 0)));
      const middle = signed ? H / 2 : H - 1;
      const y = (value) => middle - ((signed ? H / 2 - 2 : H - 3) * value) / top;
      // No more points than there are pixels: the sorted values of a thousand queries and of a sample of them look the same.
      const points = Math.min(rows.length, W);
      const outline = (keep) => {
        let path = "";
        for (let point = 0; point < points; point++) {
          const { value } = rows[Math.floor((point * rows.length) / points)];
          const gap = points > 250 ? 0 : 1.5;
          const [from, to] = [point, point + 1].map((each) => (each * W) / points);
          if (keep(value)) path += `M${from} ${middle}V${y(value).toFixed(2)}H${to - gap}V${middle}Z`;
        }
        return path;
      };
      lost.setAttribute("d", outline((value) => value < 0));
      won.setAttribute("d", outline((value) => value > 0));
      zero.setAttribute("d", `M0 ${middle}H${W}`);
      slider.setAttribute("aria-valuemax", String(rows.length));
      ends.replaceChildren(...labels.map((each) => h("span", {}, each)));
    };
    return { box, draw, select };
  };

  // The mark of this pipeline, and of the one it is compared with, among the dots.
  pictures.sign = (place) => svg("svg", { class: "dots", width: 10, height: 10, "aria-hidden": "true" },
    svg("circle", { class: place ? "that" : "this", cx: 5, cy: 5, r: 4 }));

  // -- all pipelines on one query ---------------------------------------------------------------------------------------------

  // Dots on a line from 0 to the greatest value; those that meet are stacked. The chosen two are named.
  pictures.dots = (values, pair, metric) => {
    const known = values.filter(([, value]) => value !== undefined && !Number.isNaN(value));
    if (known.length < 2) return null;
    const [W, R] = [460, 5];
    const top = Math.max(1, ...known.map(([, value]) => value));
    const heights = new Map();
    const placed = known.map(([pipeline, value]) => {
      const x = Math.round((10 + ((W - 20) * value) / top) / (2 * R)) * 2 * R;
      const level = heights.get(x) ?? 0;
      heights.set(x, level + 1);
      return { pipeline, value, x: 10 + ((W - 20) * value) / top, level };
    });
    const base = 8 + 2 * R * Math.max(...heights.values());
    return svg("svg", { class: "dots", width: W, height: base + 18, viewBox: `0 0 ${W} ${base + 18}`, role: "img",
      "aria-label": `All pipelines on ${metric}; the table below has the figures` },
      svg("path", { class: "axis", d: `M10 ${base + 0.5}H${W - 10}` }), svg("text", { x: 10, y: base + 14 }, "0"),
      svg("text", { x: W - 10, y: base + 14, "text-anchor": "end" }, three(top)),
      placed.map(({ pipeline, value, x, level }) => svg("circle",
        { class: pair[0] === pipeline ? "this" : pair[1] === pipeline ? "that" : "dot", cx: x, cy: base - R - 1 - 2 * R * level, r: R - 1 },
        svg("title", {}, `${pipeline}: ${show.metric(value)}`))));
  };
}
