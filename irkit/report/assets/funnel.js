// Where relevant documents are lost: for every pipeline of a collection a drawing of what survives each stage, and for the chosen
// one a table with a bar for every stage. A document counts with every stage that has it in its input and not in its output, so the
// losses of branches overlap; "lost on the way" counts documents, each once.
{
  const end = (funnel) => funnel.steps[funnel.steps.length - 1];
  // What becomes of the relevant documents: five parts that make the total. Those outside are judged, and the collection lacks them.
  const parts = (funnel) => ({
    outside: funnel.outside,
    missed: funnel.missed,
    lost: funnel.total - funnel.outside - funnel.missed - end(funnel).relevant,
    deep: end(funnel).relevant - end(funnel).top,
    top: end(funnel).top,
  });
  const isChain = (funnel) => funnel.steps.every(({ inputs, unknown }, number) => inputs.length === (number ? 1 : 0)
    && !(number && unknown));
  const percent = (part, whole) => {
    const share = whole ? (100 * part) / whole : 0;
    return `${(share > 0 && share < 1) || (share > 99 && share < 100) ? share.toFixed(1) : share.toFixed(0)} %`;
  };
  const BEFORE = "what it had before it is not known";
  const verb = (count, one, many) => (count === 1 ? one : many);
  const absent = (count) => `${show.count(count)} ${verb(count, "is", "are")} not in the collection`;

  // -- in words --------------------------------------------------------------------------------------------------------------

  const sentence = (funnel) => {
    const { total, k } = funnel;
    const { outside, missed, lost, deep, top } = parts(funnel);
    const said = [];
    if (outside) said.push([absent(outside)]);
    if (missed) said.push([`${percent(missed, total)} were ${looked.unfound([funnel])}`]);
    if (lost && isChain(funnel)) {
      for (const step of funnel.steps) if (step.lost) said.push([name(step.label || step.stage), ` lost ${percent(step.lost, total)}`]);
    } else if (lost) said.push([`${percent(lost, total)} were retrieved and lost on the way`]);
    if (deep) said.push([`${percent(deep, total)} end below rank ${k}`]);
    said.push([h("strong", {}, `${percent(top, total)} end in the first ${k}`)]);
    return h("p", {}, `Of ${show.plural(total, "relevant document")} of ${show.count(funnel.queries)} `,
      funnel.queries === 1 ? "query, " : "queries, ",
      said.map((each, place) => [place === 0 ? "" : place === said.length - 1 ? ", and " : ", ", each]), ".");
  };

  // What the one does better than the other, in documents.
  const difference = (ours, other) => {
    if (ours.total !== other.total) return null;
    const [a, b] = [parts(ours), parts(other)];
    const change = b.top - a.top;
    const turn = (value, what) => (value ? `${show.count(Math.abs(value))} ${value > 0 ? "fewer" : "more"} ${what}` : null);
    const why = [
      turn(b.missed - a.missed, looked.unfound([ours, other])),
      turn(b.lost - a.lost, "lost on the way"), turn(b.deep - a.deep, `below rank ${ours.k}`),
    ].filter(Boolean);
    return h("p", {}, name(ours.pipeline), " has ",
      change ? `${show.count(Math.abs(change))} ${change > 0 ? "fewer" : "more"}` : "as many",
      ` relevant ${verb(Math.abs(change), "document", "documents")} in the first ${ours.k} ${change ? "than" : "as"} `,
        name(other.pipeline),
      why.length ? `: ${why.join(", ")}.` : ".");
  };

  // -- the small drawing: stages from left to right, branches of a fusion side by side in one column ---------------------------

  const WIDE = 310;
  const TALL = 44;
  const ABOVE = 13;
  const drawing = (funnel, lookInto) => {
    const depth = [];
    for (const { inputs } of funnel.steps) depth.push(inputs.length ? 1 + Math.max(...inputs.map((each) => depth[each])) : 0);
    const columns = Math.max(...depth) + 1;
    const width = Math.min(WIDE / columns, 80);
    const y = (count) => ABOVE + TALL - (funnel.total ? (TALL * count) / funnel.total : 0);
    const marks = funnel.steps.flatMap((step, number) => {
      const beside = depth.flatMap((each, at) => (each === depth[number] ? [at] : []));
      const x = depth[number] * width + (beside.indexOf(number) * (width - 3)) / beside.length;
      const w = (width - 3) / beside.length - (beside.length > 1 ? 1 : 0);
      const title = step.label || step.stage;
      const bar = (kind, low, high) => high > low && svg("rect", { class: kind, x, y: y(high), width: w, height: y(low) - y(high) });
      const letters = Math.floor(w / 5.2);
      const short = step.stage.length > letters ? `${step.stage.slice(0, Math.max(1, letters - 1))}…` : step.stage;
      const lost = bar("fall", step.relevant, Math.min(funnel.total, step.relevant + step.lost));
      if (lost && lookInto) {
        lost.classList.add("open");
        lost.addEventListener("click", () => lookInto(funnel.pipeline, `step-${number}`));
      }
      return svg("g", {},
        svg("title", {}, `${title}: ${show.count(step.relevant)} of ${show.count(funnel.total)} relevant, ${show.count(step.top)} in the `
          + `first ${funnel.k}, ${show.count(step.lost)} lost here`),
        svg("rect", { class: "behind", x, y: ABOVE, width: w, height: TALL }),
        bar("deeper", step.top, step.relevant), bar("in-top", 0, step.top), lost,
        step.lost > 0 && svg("text", { class: "minus", x: x + w / 2, y: Math.max(9, y(step.relevant + step.lost) - 3) },
          `${MINUS}${show.count(step.lost)}`),
        svg("text", { x: x + w / 2, y: ABOVE + TALL + 12 }, short));
    });
    const { outside, missed, lost, deep, top } = parts(funnel);
    return svg("svg", {
      class: "funnel", width: WIDE, height: ABOVE + TALL + 17, viewBox: `0 0 ${WIDE} ${ABOVE + TALL + 17}`, role: "img",
      "aria-label": `${funnel.pipeline}: ${outside ? `${absent(outside)}, ` : ""}${show.count(missed)} ${looked.unfound([funnel])}, `
        + `${show.count(lost)} lost on the way, `
        + `${show.count(deep)} below rank ${funnel.k}, ${show.count(top)} in the first ${funnel.k}, of ${show.count(funnel.total)}`,
    }, svg("path", { class: "axis", d: `M0 ${ABOVE + TALL + 0.5}H${columns * width - 3}` }), marks);
  };

  const swatch = (kind) => svg("svg", { width: 22, height: 10 }, svg("rect", { class: kind, x: 0.5, y: 0.5, width: 21, height: 9 }));
  const legend = (k) => h("p", { class: "key", "aria-hidden": "true" },
    h("span", {}, swatch("in-top"), ` relevant, in the first ${k}`), h("span", {}, swatch("deeper"), " relevant, further down"),
    h("span", {}, swatch("fall"), " lost by this stage"), h("span", {}, swatch("behind"), " not there"));

  const overview = (funnels, chosen, choose, lookInto) => {
    const sorted = [...funnels].sort((a, b) => parts(b).top / (b.total || 1) - parts(a).top / (a.total || 1));
    const share = (count, total) => ({ node: [show.count(count), h("span", { class: "sub" }, show.share(count, total))],
      value: total ? count / total : "" });
    const ks = [...new Set(funnels.map(({ k }) => k))];
    const first = ks.length === 1 ? `In the first ${ks[0]}` : "In the first k";
    const lacking = funnels.some(({ outside }) => outside > 0);
    return grid({
      kind: "funnels",
      caption: ["Relevant documents of ", name(funnels[0].collection),
        " on their way through every pipeline, those with the most in the first ",
        ks.length === 1 ? String(ks[0]) : "k",
          " at the top. Every stage is a bar as high as the relevant documents that it lets through; branches stand side ",
        "by side. A pipeline’s name opens it below."],
      heads: [{ text: "Pipeline", sort: "text" }, "Stages",
        ...(lacking ? [{ text: "Not in the collection", sort: "number", num: true }] : []),
        { text: funnels.some(({ steps }) => steps.some(({ unknown }) => unknown)) ? "Not found, or lost unseen"
          : "Never retrieved", sort: "number", num: true },
        { text: "Lost on the way", sort: "number", num: true }, { text: "Further down", sort: "number", num: true },
          { text: first, sort: "number", num: true }],
      rows: sorted.map((funnel) => {
        const { outside, missed, lost, deep, top } = parts(funnel);
        const button = h("button", { type: "button", class: "pick", "aria-pressed": String(funnel.pipeline === chosen),
          click: () => choose(funnel.pipeline) },
          h("bdi", {}, funnel.pipeline));
        return [{ node: button, head: true, value: funnel.pipeline }, drawing(funnel, lookInto),
          ...(lacking ? [share(outside, funnel.total)] : []), share(missed, funnel.total),
          share(lost, funnel.total),
          share(deep, funnel.total), share(top, funnel.total)];
      }),
    });
  };

  // -- one pipeline, large ----------------------------------------------------------------------------------------------------

  const bar = (total, ...pieces) => svg("svg", { width: "100%", height: 16, "aria-hidden": "true", focusable: "false" },
    svg("rect", { class: "behind", x: 0, y: 1, width: "100%", height: 14 }),
    pieces.map(([kind, from, count]) => count > 0 && total > 0
      && svg("rect", { class: kind, x: `${(100 * from) / total}%`, y: 1, width: `${(100 * count) / total}%`, height: 14 })));

  const large = (funnel, lookInto) => {
    const { total, k, missed, outside, steps } = funnel;
    // Branches are indented: by one for every fusion between a stage and the end.
    const indent = steps.map(() => 0);
    for (let number = steps.length - 1; number >= 0; number--) {
      const { inputs } = steps[number];
      for (const each of inputs) indent[each] = indent[number] + (inputs.length > 1 ? 1 : 0);
    }
    const withShare = (count) => [show.count(count), h("span", { class: "sub" }, show.share(count, total))];
    const loss = (count, at, what) => {
      if (!count) return "0";
      if (!lookInto) return withShare(count);
      return [h("button", { type: "button", class: "quiet", "aria-label": `${show.plural(count, "document")} ${what}: show the queries`,
        click: () => lookInto(funnel.pipeline, at) }, show.count(count)), h("span", { class: "sub" }, show.share(count, total))];
    };
    const rows = steps.map((step, number) => {
      const before = step.inputs.length ? Math.max(...step.inputs.map((each) => steps[each].top)) : null;
      const change = before === null ? null : step.top - before;
      const gone = Math.min(step.lost, total - step.relevant);
      return [
        { node: h("span", { class: `in${Math.min(indent[number], 4)}` }, h("bdi", {}, step.label || step.stage),
          step.inputs.length > 1 && h("span", { class: "sub" }, `joins ${step.inputs.length} branches`)), head: true },
        { node: bar(total, ["in-top", 0, step.top], ["deeper", step.top, step.relevant - step.top], ["fall", step.relevant, gone]) },
        { node: withShare(step.relevant) },
        { node: [show.count(step.top), h("span", { class: "sub" }, show.share(step.top, total))] },
        { node: step.unknown ? dash(BEFORE) : change === null ? dash("a first stage") : h("span",
          { class: change > 0 ? "delta up" : change < 0 ? "delta down" : "delta" }, show.delta(change, 0)) },
        { node: step.inputs.length ? loss(step.lost, `step-${number}`, `lost by ${step.label || step.stage}`)
          : dash(step.unknown ? BEFORE : "a first stage") },
      ];
    });
    return [
      sentence(funnel),
      grid({
        kind: "stages",
        caption: ["The stages of ", name(funnel.pipeline), ". “Change” is what the stage brings into the first ", String(k),
          " or takes from there, against its input",
          steps.some(({ inputs }) => inputs.length > 1) ? " (that of a fusion: the better branch)." : "."],
        heads: ["Stage", { text: h("span", { class: "sr" }, "Bar") }, { text: "Relevant in its output", num: true },
          { text: `In the first ${k}`, num: true },
          { text: "Change", num: true }, { text: "Lost here", num: true }],
        rows: [
          [{ node: h("em", {}, "all relevant documents"), head: true },
            { node: bar(total, ["deeper", 0, total - missed - outside], ["fall", total - missed - outside, missed]) },
            { node: [show.count(total), outside > 0 && h("span", { class: "sub" }, absent(outside))] },
            dash("not ranked yet"), dash("not ranked yet"),
            { node: [loss(missed, "missed", looked.unfound([funnel])), h("span", { class: "sub" }, looked.unfound([funnel]))] }],
          ...rows,
        ],
      }),
      !isChain(funnel)
        && h("p", { class: "note" },
          "A document that one branch loses and another keeps counts with the losses of the first all the same."),
      funnel.left_out?.length > 0 && h("p", { class: "note" }, "The store has no rankings any more of ",
        funnel.left_out.map((label, place) => [place ? ", " : "", name(label)]), ": what was lost there counts with the stage after it."),
    ];
  };

  view("funnel-view", (root) => {
    const { collections, pipelines, baseline } = page.main;
    const all = page.main.funnels.filter(({ steps }) => steps.length);
    if (!all.length) {
      root.replaceChildren(h("p", { class: "empty" },
        "These results hold no funnels: they are of an older irkit, which did not follow the relevant documents from stage "
        + "to stage. Another run of the experiment writes them, from what is in the store."));
      return;
    }
    const names = pipelines.map((each) => each.name).filter((each) => all.some(({ pipeline }) => pipeline === each));
    const places = collections.map((each) => each.name).filter((each) => all.some(({ collection }) => collection === each));
    const ours = () => state.pick("pipeline", names, names.find((each) => each !== baseline) ?? names[0]);
    const theirs = () => state.pick("other", names, names.includes(baseline) ? baseline : names[0]);
    const table = h("div", {});
    const one = h("div", { class: "one" });
    const note = h("p", { class: "note" });
    const here = () => {
      const collection = state.pick("collection", places);
      const number = collections.findIndex((each) => each.name === collection);
      const has = document.getElementById(`data-details-${number}`) !== null;
      return { funnels: all.filter((each) => each.collection === collection), lookInto: has ? lookInto : null };
    };
    const lookInto = (pipeline, stage) => {
      state.set({ pipeline, queries: stage, collection: state.pick("collection", places) }, "explorer");
      document.getElementById("explorer").scrollIntoView();
      document.querySelector("#explorer-view [data-key=queries]")?.focus({ preventScroll: true });
      say("The queries that lost a relevant document there are listed under “Query by query”.");
    };
    const choose = (pipeline) => { state.set({ pipeline }); say(`${pipeline} is shown below the table.`); };
    const drawOne = () => {
      const { funnels, lookInto: look } = here();
      for (const button of table.querySelectorAll(".pick")) button.setAttribute("aria-pressed", String(button.textContent === ours()));
      const [mine, other] = [ours(), theirs()].map((each) => funnels.find(({ pipeline }) => pipeline === each));
      one.replaceChildren(...[
        mine ? large(mine, look) : h("p", { class: "empty" }, name(ours()), " has no funnel on this collection."),
        mine && other && mine !== other && [difference(mine, other), h("details", {},
          h("summary", {}, "The stages of ", name(other.pipeline), ", which it is compared with"), large(other, look))],
      ].flat(Infinity).filter(Boolean));
      note.textContent = look
        ? "A loss opens the list of the queries that lost a document there, of those that are kept with their documents." : "";
    };
    const draw = () => {
      const { funnels, lookInto: look } = here();
      table.replaceChildren(overview(funnels, ours(), choose, look), legend([...new Set(funnels.map(({ k }) => k))].join(" or ")));
      drawOne();
    };
    root.replaceChildren(
      ...(places.length > 1 ? [h("p", { class: "choices" }, choice("Collection", "collection", places))] : []),
      table,
      h("h3", {}, "One pipeline, stage by stage"),
      h("p", { class: "choices" }, choice("Pipeline", "pipeline", names, names.find((each) => each !== baseline) ?? names[0]),
        names.length > 1 && choice("Compared with", "other", names, names.includes(baseline) ? baseline : names[0])),
      one, note,
    );
    draw();
    state.on(["collection"], draw);
    state.on(["pipeline", "other"], drawOne);
  });
}
