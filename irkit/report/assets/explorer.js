// Query by query: all queries of a collection with the values of two pipelines, as a list and as a strip of their differences, and one
// of them under the eyes (query.js). Fifty rows at a time, so that ten thousand queries are as quick as fifty.
{
  const ROWS = 50;
  const own = (record, key) => (record && Object.hasOwn(record, key) ? record[key] : undefined);
  const brief = (text) => (text.length > 140 ? `${text.slice(0, 140)}…` : text);
  const way = (delta) => (delta > 0 ? "delta up" : delta < 0 ? "delta down" : "delta");
  const number = (value) => value !== undefined && !Number.isNaN(value);

  // -- the data of one collection ---------------------------------------------------------------------------------------------

  const load = once(async (collection) => {
    const [values, details] = [await page.values(collection), await page.details(collection)];
    const looked = new Map((details?.queries ?? []).map((each) => [each.qid, each]));
    const [changed, seen] = [details?.changed ?? [], details?.explained ?? []];
    const texts = new Map([...changed, ...seen].map((each) => [each.qid, each.query]));
    for (const each of looked.values()) if (each.text !== null) texts.set(each.qid, each.text);
    // Queries without judgements have no values; they are here when a stage explained them.
    const qids = [...new Set([...(values?.qid ?? []), ...looked.keys(), ...texts.keys()])];
    const kept = new Set([...looked.keys(), ...texts.keys()]);
    return { collection, values, details, looked, changed, seen, texts, qids, kept, place: new Map(qids.map((qid, at) => [qid, at])) };
  });

  view("explorer-view", (root) => {
    const { collections, pipelines, metrics, baseline } = page.main;
    const names = pipelines.map((each) => each.name);
    const places = collections.map((each) => each.name).filter((_, at) => document.getElementById(`data-values-${at}`)
      || document.getElementById(`data-details-${at}`));
    if (!places.length || !names.length) {
      root.replaceChildren(h("p", { class: "empty" }, "These results hold no values per query."));
      return;
    }
    const mineFirst = names.find((each) => each !== baseline) ?? names[0];
    const theirsFirst = names.includes(baseline) ? baseline : names[0];
    const pair = () => [state.pick("pipeline", names, mineFirst), state.pick("other", names, theirsFirst)];
    const metric = () => state.pick("metric", metrics);
    const funnels = new Map(page.main.funnels.filter(({ steps }) => steps.length)
      .map((each) => [JSON.stringify([each.collection, each.pipeline]), each]));

    let data = null;  // what `load` gives, of the chosen collection
    let mine = [];
    let theirs = [];
    let delta = [];
    let order = [];  // rows that are listed
    let first = 0;  // of the page of the list
    let chosen = -1;
    let sorting = null;  // [column, 1 or -1]; null: as the columns suggest
    let turn = 0;  // counts choices, so that a slow one does not overwrite a later one

    const filter = h("select", { "data-key": "queries", change: () => state.set({ queries: filter.value }) });
    const find = h("input", { type: "search", input: () => { first = 0; list(); } });
    const count = h("p", { class: "note" });
    const listBox = h("div", { class: "list" });
    const pager = h("p", { class: "pager" });
    const looking = h("article", { class: "query", "aria-label": "The chosen query" });
    const picture = pictures.strip((row) => state.set({ qid: data.qids[row] }, "explorer"));
    const funnel = (pipeline) => funnels.get(JSON.stringify([collections[data.collection].name, pipeline]));

    // -- which queries ----------------------------------------------------------------------------------------------------------

    const paired = () => pair()[0] !== pair()[1] && theirs.length > 0 && mine.length > 0;
    const filters = () => {
      const [ours] = pair();
      const rows = data.qids.map((_, at) => at);
      const groups = [["", [["all", "all queries", () => true]]]];
      if (paired()) {
        groups[0][1].push(["won", "won", (at) => delta[at] > 0], ["lost", "lost", (at) => delta[at] < 0],
          ["tied", "tied", (at) => delta[at] === 0]);
      }
      if (data.kept.size < data.qids.length && data.kept.size) groups[0][1].push(["details", "kept with more than values",
        (at) => data.kept.has(data.qids[at])]);
      const steps = funnel(ours)?.steps;
      if (steps && data.looked.size) {
        const some = (test) => (at) => data.looked.get(data.qids[at])?.relevant.some((each) => {
          const ranks = own(each.ranks, ours);
          return ranks?.length === steps.length && test(ranks, each);
        }) ?? false;
        groups.push([`A relevant document, in ${ours}`, [
          ["missed", looked.unfound([funnel(ours)]), some((ranks, { outside }) => !outside && looked.missed(ranks))],
          ...steps.flatMap((step, at) => (step.inputs.length ? [[`step-${at}`, `lost by ${step.label || step.stage}`,
            some((ranks) => looked.lostAt(steps, ranks, at))]] : [])),
        ]]);
      }
      return groups.map(([title, options]) => [title, options.map(([key, text, test]) => ({ key, text, test, rows: rows.filter(test) }))]);
    };
    let options = [];
    const drawFilters = () => {
      const groups = filters();
      options = groups.flatMap(([, each]) => each);
      const now = state.pick("queries", options.map(({ key }) => key), "all");
      const written = (each) => h("option", { value: each.key, selected: each.key === now },
        `${brief(each.text)} (${show.count(each.rows.length)})`);
      filter.replaceChildren(...groups.flatMap(([title, each]) => (title ? [h("optgroup", { label: brief(title) }, each.map(written))]
        : each.map(written))));
    };

    const columns = () => [
      { key: "qid", text: "Query", get: (at) => data.qids[at], words: true },
      ...(data.texts.size ? [{ key: "text", text: "Text" }] : []),
      { key: "mine", text: h("bdi", {}, pair()[0]), get: (at) => mine[at], num: true },
      ...(paired() ? [{ key: "theirs", text: h("bdi", {}, pair()[1]), get: (at) => theirs[at], num: true },
        { key: "delta", text: "Difference", get: (at) => delta[at], num: true }] : []),
    ];
    const sortedBy = () => {
      const by = sorting && columns().find(({ key, get }) => get && key === sorting[0]);
      return by ? [by, sorting[1]] : [columns().find(({ key }) => key === (paired() ? "delta" : "mine")), 1];
    };
    const list = () => {
      const words = find.value.trim().toLowerCase();
      const { rows, text } = options.find(({ key }) => key === state.get("queries")) ?? options[0];
      order = words ? rows.filter((at) => data.qids[at].toLowerCase().includes(words)
        || data.texts.get(data.qids[at])?.toLowerCase().includes(words)) : [...rows];
      const [by, sign] = sortedBy();
      const natural = new Intl.Collator("en", { numeric: true });
      if (by.words) order.sort((a, b) => sign * natural.compare(by.get(a), by.get(b)));
      else order.sort((a, b) => number(by.get(b)) - number(by.get(a)) || (number(by.get(a)) ? sign * (by.get(a) - by.get(b)) : 0) || a - b);
      const unknown = words && data.texts.size < data.qids.length;
      count.textContent = `${show.plural(order.length, "query")} of ${show.count(data.qids.length)}`
        + (text === options[0].text ? "" : `: ${text}`) + (unknown ? ". Texts are known of those that are kept with their documents only."
          : "")
        + (options.some(({ key }) => key === "missed") && /^(missed|step-)/.test(state.get("queries") ?? "")
          && data.looked.size < data.qids.length
          ? ` (among the ${show.count(data.looked.size)} that are kept with their documents)` : "");
      if (first >= order.length) first = 0;
      drawList();
    };

    // -- the list ---------------------------------------------------------------------------------------------------------------

    const drawList = () => {
      const shown = order.slice(first, first + ROWS);
      const [by, sign] = sortedBy();
      const head = columns().map((each) => h("th", { scope: "col", class: each.num && "num",
        "aria-sort": each.get && each.key === by.key && (sign > 0 ? "ascending" : "descending") },
        each.get ? h("button", { type: "button", click: () => {
          sorting = [each.key, each.key === by.key ? -sign : each.words ? 1 : -1];
          first = 0;
          list();
          listBox.querySelector(`th:nth-child(${columns().findIndex(({ key }) => key === each.key) + 1}) button`).focus();
          say(`Sorted by ${each.text.textContent ?? each.text}, ${sorting[1] > 0 ? "ascending" : "descending"}`);
        } }, each.text) : each.text));
      const cell = { qid: () => null, text: (at) => h("td", { class: "words" }, h("bdi", {}, brief(data.texts.get(data.qids[at]) ?? ""))) };
      const value = (at, { key, get }) => h("td", { class: key === "delta" ? `num ${way(get(at))}` : "num" },
        number(get(at)) ? (key === "delta" ? show.delta(get(at)) : show.metric(get(at))) : dash("no value"));
      const rows = shown.map((at) => h("tr", { "data-row": at, "aria-current": at === chosen && "true" },
        h("th", { scope: "row" }, h("button", { type: "button", class: "pick", tabindex: at === chosen ? "0" : "-1" },
          h("bdi", {}, brief(data.qids[at]))),
          data.kept.has(data.qids[at]) && data.kept.size < data.qids.length
            && h("span", { class: "mark", title: "kept with more than its values" }, " •",
            h("span", { class: "sr" }, " (kept with more than its values)"))),
        columns().slice(1).map((each) => (cell[each.key] ? cell[each.key](at) : value(at, each)))));
      if (rows.length && !rows.some((row) => row.dataset.row === String(chosen))) rows[0].querySelector("button").tabIndex = 0;
      listBox.replaceChildren(rows.length
        ? h("table", {}, h("caption", { class: "sr" }, `Queries on ${metric()}`), h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows))
        : h("p", { class: "empty" }, "No query is like that."));
      listBox.scrollTop = 0;
      const button = (text, to, can) => h("button", { type: "button", disabled: !can, "data-to": to,
        click: () => { first = to; drawList(); say(pager.textContent); } }, text);
      pager.replaceChildren(...(order.length > ROWS ? [button("Previous", first - ROWS, first > 0),
        ` ${show.count(first + 1)} to ${show.count(first + shown.length)} of ${show.count(order.length)} `,
          button("Next", first + ROWS, first + ROWS < order.length)] : []));
    };
    // Focus the button of a place in the order, on whatever page it is.
    const focus = (at) => {
      const to = Math.max(0, Math.min(order.length - 1, at));
      if (to < first || to >= first + ROWS) { first = ROWS * Math.floor(to / ROWS); drawList(); }
      const buttons = listBox.querySelectorAll(".pick");
      for (const each of buttons) each.tabIndex = -1;
      const button = buttons[to - first];
      if (button) { button.tabIndex = 0; button.focus(); }
    };
    listBox.addEventListener("click", (event) => {
      const row = event.target.closest("tr[data-row]");
      if (row) state.set({ qid: data.qids[Number(row.dataset.row)] }, "explorer");
    });
    listBox.addEventListener("keydown", (event) => {
      const row = event.target.closest("tr[data-row]");
      if (!row) return;
      const at = order.indexOf(Number(row.dataset.row));
      const to = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + 10, PageUp: at - 10, Home: 0, End: order.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      focus(to);
    });

    // -- one query --------------------------------------------------------------------------------------------------------------

    const step = (by) => {
      const to = order[order.indexOf(chosen) + by];
      if (to === undefined) return;
      state.set({ qid: data.qids[to] }, "explorer");
      looking.querySelector(`[data-step="${by}"]`)?.focus({ preventScroll: true });
    };
    const valuesTable = (at) => {
      const of = (key, pipeline) => {
        const found = own(data.values?.metrics, key);
        return found?.rows[pipeline] ? found.values[found.rows[pipeline][at]] : undefined;
      };
      const known = Object.keys(data.values?.metrics ?? {});
      const now = metric();
      if (!known.length || of(known[0], 0) === undefined && names.every((_, each) => of(now, each) === undefined)) return null;
      return [
        pictures.dots(names.map((each, place) => [each, of(now, place)]), pair(), now),
        h("details", { class: "all" }, h("summary", {}, names.length > 1 ? `The values of all ${names.length} pipelines` : "All values"),
          grid({ caption: "The values of all pipelines on this query.",
            heads: [{ text: "Pipeline", sort: "text" }, ...known.map((key) => ({ text: key, num: true, sort: "number" }))],
            rows: names.map((each, place) => [{ node: h("bdi", {}, each), head: true, value: each },
              ...known.map((key) => (number(of(key, place)) ? { node: show.metric(of(key, place)), value: of(key, place) }
                : { node: dash("no value"), value: "" }))]) })),
      ];
    };
    const drawQuery = () => {
      if (chosen < 0) { looking.replaceChildren(); return; }
      const qid = data.qids[chosen];
      const text = data.texts.get(qid);
      const [ours, other] = pair();
      const at = order.indexOf(chosen);
      const values = [[ours, mine], ...(paired() ? [[other, theirs]] : [])];
      const query = data.looked.get(qid);
      const about = {
        qid, details: data.details, query, level: collections[data.collection].level ?? 1, funnel,
        changed: data.changed.filter((each) => each.qid === qid), seen: data.seen.filter((each) => each.qid === qid),
      };
      const kept = data.looked.size
        ? `The documents of ${show.count(data.looked.size)} of ${show.plural(data.qids.length, "query")} are kept, not of this one. `
        : "No documents of single queries are kept in these results. ";
      looking.replaceChildren(...[
        h("h3", { id: "query-title" }, "Query ", h("bdi", {}, qid)),
        h("p", { class: "pager" }, [[-1, "Previous query"], [1, "Next query"]].map(([by, label]) => h("button",
          { type: "button", "data-step": by, disabled: at < 0 || order[at + by] === undefined, click: () => step(by) }, label))),
        text === undefined ? h("p", { class: "empty" }, "Its text is not kept in these results.")
          : looked.clamped([text, query?.more ? h("span", { class: "none" }, " …") : null], text.length, "asked"),
        h("p", { class: "values" }, values.map(([pipeline, row], place) => h("span", {}, pictures.sign(place), name(pipeline), " ",
          number(row[chosen]) ? show.metric(row[chosen]) : dash(`no value of ${metric()}`))),
          paired() && number(delta[chosen]) && h("span", {}, "difference ",
            h("span", { class: way(delta[chosen]) }, show.delta(delta[chosen]))),
          h("span", { class: "tag" }, metric())),
        valuesTable(chosen),
        !query && h("p", { class: "notice" }, kept, h("code", {}, "report: {queries: N}"),
          " in the experiment file keeps those of N queries of every collection.", data.details?.over_budget > 0 && [
            ` The limit of bytes left out ${show.plural(data.details.over_budget, "query")}: `,
            h("code", {}, "report: {bytes: N}"), " raises it."]),
        looked.at(about, [ours, other]),
      ].flat(Infinity).filter((each) => each));
    };
    // Nobody asked for a query: of those with documents, the one on which the pipelines differ most.
    const telling = () => {
      const known = order.filter((row) => data.looked.has(data.qids[row]));
      const moved = (row) => (paired() && Number.isFinite(delta[row]) ? Math.abs(delta[row]) : 0);
      return known.reduce((best, row) => (moved(row) > moved(best) ? row : best), known[0]);
    };
    const select = () => {
      const asked = data.place.get(state.get("qid"));
      chosen = asked ?? telling() ?? order[0] ?? (data.qids.length ? 0 : -1);
      const at = order.indexOf(chosen);
      if (at >= 0 && (at < first || at >= first + ROWS)) { first = ROWS * Math.floor(at / ROWS); drawList(); }
      for (const row of listBox.querySelectorAll("tr[data-row]")) {
        const is = Number(row.dataset.row) === chosen;
        if (is) row.setAttribute("aria-current", "true");
        else row.removeAttribute("aria-current");
        if (is) keepInView(row);
      }
      picture.select(chosen);
      drawQuery();
    };
    // Scrolls the list, and never the page.
    const keepInView = (row) => {
      const [box, frame] = [listBox.getBoundingClientRect(), row.getBoundingClientRect()];
      if (frame.top < box.top + 40) listBox.scrollTop -= box.top + 40 - frame.top;
      else if (frame.bottom > box.bottom) listBox.scrollTop += frame.bottom - box.bottom;
    };

    // -- all of it --------------------------------------------------------------------------------------------------------------

    const compare = async () => {
      const mark = ++turn;
      const found = await load(collections.findIndex((each) => each.name === state.pick("collection", places)));
      const rows = await Promise.all(pair().map((each) => perQuery(found.collection, metric(), names.indexOf(each))));
      if (mark !== turn) return;
      data = found;
      [mine, theirs] = rows.map((each) => each ?? []);
      delta = paired() ? mine.map((value, at) => board.delta(value, theirs[at])) : [];
      drawFilters();
      first = 0;
      list();
      const signed = paired();
      const shown = signed ? delta : mine;
      const sorted = Array.from(shown, (value, row) => ({ row, qid: data.qids[row], value,
        text: signed ? show.delta(value) : show.metric(value) })).sort((a, b) => a.value - b.value);
      const [ours, other] = pair();
      const told = (key) => show.count(options.find((each) => each.key === key)?.rows.length ?? 0);
      const of = places.length > 1 ? [" of ", name(collections[data.collection].name)] : "";
      picture.draw(sorted,
        signed ? ["The differences of all queries", of, " on ", name(metric()), ": ", name(ours), " against ", name(other),
          ". A click, or the arrow keys, choose a query."]
          : ["The values of all queries", of, " on ", name(metric()), " in ", name(ours), ". A click, or the arrow keys, choose a query."],
        signed ? [`${told("lost")} lost`, `${told("tied")} tied`, `${told("won")} won`] : sorted.length
          ? [show.metric(sorted[0].value), show.metric(sorted[sorted.length - 1].value)] : [], signed);
      const missing = pair().filter((each, at) => !rows[at] && names.indexOf(each) >= 0);
      warn.replaceChildren(...(missing.length ? [...new Set(missing)].flatMap((each) => [name(each), " has no values of ", name(metric()),
        " per query on this collection. "])
        : pair()[0] === pair()[1] && names.length > 1 ? ["Both choices are the same pipeline: choose another one to compare with."] : []));
      select();
    };
    const warn = h("p", { class: "note" });
    root.replaceChildren(
      h("div", { class: "choices" },
        places.length > 1 && choice("Collection", "collection", places),
        metrics.length > 1 && choice("Metric", "metric", metrics),
        names.length > 1 && choice("Pipeline", "pipeline", names, mineFirst),
        names.length > 1 && choice("Compared with", "other", names, theirsFirst)),
      warn, picture.box,
      h("div", { class: "choices" }, h("label", { class: "choice" }, h("span", {}, "Queries"), filter),
        h("label", { class: "choice" }, h("span", {}, "Id or words"), find)),
      count, listBox, pager, looking,
    );
    state.on(["collection", "metric", "pipeline", "other"], compare);
    state.on(["queries"], () => { if (data) { drawFilters(); first = 0; list(); select(); } });
    state.on(["qid"], () => { if (data) select(); });
    return compare();
  });
}
