// One query under the eyes: what pipelines made of its text, the top hits of two of them side by side, and where each relevant
// document went. The explorer lists the queries and shows the chosen one with `looked.at`.
const looked = {};
{
  const own = (record, key) => (record && Object.hasOwn(record, key) ? record[key] : undefined);
  const LONG = 240;
  const figure = (value, digits = 3) => String(Number(value.toPrecision(digits))).replace("-", MINUS);
  const SHOWN = 100;  // documents of one query that other stages explained, and the like: more are never wanted at once

  // A text of any length: three lines of it, and the rest when asked for.
  const clamped = (children, length, kind = "") => {
    const text = h("p", { class: `text ${kind}`, dir: "auto" }, children);
    if (length <= LONG) return text;
    text.classList.add("clamp");
    const button = h("button", { type: "button", class: "quiet", "aria-expanded": "false", click: () => {
      const open = text.classList.toggle("clamp") === false;
      button.setAttribute("aria-expanded", String(open));
      button.textContent = open ? "less" : "more";
    } }, "more");
    return [text, button];
  };

  // -- where a document went --------------------------------------------------------------------------------------------------

  const called = (step) => step.label || step.stage;
  // The steps that cost a pipeline a document, from its ranks after each step: what the end lacks and one of its inputs has, the end
  // lost; what none of its inputs has, is looked for there.
  looked.losers = (steps, ranks) => {
    const found = new Set();
    const visit = (number) => {
      const { inputs } = steps[number];
      if (inputs.some((each) => ranks[each] !== null)) found.add(number);
      else inputs.forEach(visit);
    };
    if (ranks[steps.length - 1] === null) visit(steps.length - 1);
    return [...found].sort((a, b) => a - b);
  };
  looked.missed = (ranks) => ranks.every((rank) => rank === null);
  // What is known of documents that are in no output. Where the store lost the rankings before a step, nobody knows who lost them.
  looked.unfound = (funnels) => {
    const ends = [...new Set(funnels.flatMap(({ steps }) => steps.filter(({ unknown }) => unknown).map(called)))];
    return ends.length ? `not found, or lost up to ${ends.join(" or ")}` : "never retrieved";
  };
  // Whether one stage has a document in its input and not in its output.
  looked.lostAt = (steps, ranks, number) => ranks[number] === null && steps[number].inputs.some((each) => ranks[each] !== null);
  const fits = (funnel, ranks) => funnel && ranks && ranks.length === funnel.steps.length;

  const fate = (funnel, ranks, outside = false) => {
    if (outside) return h("span", { class: "gone" }, "not in the collection");
    if (!ranks?.length) return dash("not known");
    const last = ranks[ranks.length - 1];
    if (last !== null) return `rank ${show.count(last)}`;
    if (!fits(funnel, ranks)) return h("span", { class: "gone" }, "not in its output");
    if (looked.missed(ranks)) return h("span", { class: "gone" }, looked.unfound([funnel]));
    const losers = looked.losers(funnel.steps, ranks);
    return h("span", { class: "gone" }, "lost by ", losers.map((each, place) => [place ? " and " : "", name(called(funnel.steps[each]))]));
  };

  // -- hits -------------------------------------------------------------------------------------------------------------------

  const judged = (gain, level) => {
    if (gain === null || gain === undefined) return h("span", { class: "gain none" }, "· ", h("span", {}, "not judged"));
    if (gain < level) return h("span", { class: "gain no" }, "✗ ",
      h("span", {}, gain > 0 ? `judged not relevant (${gain})` : "judged not relevant"));
    return h("span", { class: "gain yes" }, "✓ ", h("span", {}, gain === 1 && level === 1 ? "relevant" : `relevant, grade ${gain}`));
  };

  // A document as a stage saw it.
  const explained = ({ stage, document }, collapsed) => {
    const length = document.spans.reduce((sum, [text]) => sum + text.length, 0);
    const spans = document.spans.map(([text, shade, weight]) => (shade ? h("span", { class: shade, title: figure(weight) }, text) : text));
    const body = [
      clamped([spans, document.more > 0 && h("span", { class: "none" }, ` … and ${show.plural(document.more, "piece")} more`)], length),
      document.best.length
        ? h("p", { class: "note" }, "Most looked at: ", document.best.map(([word, weight], place) => [place ? ", " : "", name(word),
          ` ${figure(weight)}`]), ".")
        : h("p", { class: "note" }, document.spans.length ? "Nothing in it stands out." : "The document is empty."),
    ];
    const told = ["As ", name(stage), " saw it", document.before ? `, which had it at rank ${show.count(document.before)} before` : ""];
    return collapsed ? h("details", { class: "saw", open: true }, h("summary", {}, told), body)
      : [h("p", { class: "note" }, told, "."), body];
  };

  const hitList = (about, pipeline, other) => {
    const { details, query, seen, level } = about;
    const hits = own(query.hits, pipeline);
    const theirs = own(query.hits, other);
    const funnel = about.funnel(other);
    const known = new Map(query.relevant.map((each) => [each.doc, each]));
    const twin = (doc) => {
      if (pipeline === other || !theirs) return null;
      const at = theirs.docs.indexOf(doc);
      if (at >= 0) {
        return h("button", { type: "button", class: "quiet twin-of", "data-go": `${other} ${doc}`, title: "Go to it there" },
          `rank ${at + 1} there`);
      }
      const ranks = known.has(doc) ? own(known.get(doc).ranks, other) : null;
      return ranks ? h("span", { class: "tag" }, fate(funnel, ranks), " there")
        : h("span", { class: "tag" }, `not in the first ${theirs.docs.length} there`);
    };
    const mine = seen.filter((each) => each.pipeline === pipeline);
    const stagesOn = (docno) => mine.flatMap(({ stage, documents }) => documents.filter((each) => each.docno === docno)
      .map((document) => ({ stage, document })));
    const shown = new Set();
    const rows = (hits?.docs ?? []).map((doc, place) => {
      const { docno, text, more } = details.documents[doc];
      shown.add(docno);
      return h("li", { "data-doc": doc, "data-list": pipeline, tabindex: "-1" },
        h("p", { class: "hit" }, h("span", { class: "rank" }, String(place + 1)), " ", h("bdi", { class: "docno" }, docno), " ",
          judged(hits.gains[place], level), " ",
          hits.scores.length > 0 && [h("span", { class: "tag" }, `score ${figure(hits.scores[place], 4)}`), " "], twin(doc)),
        text === null || text === undefined ? null : clamped([text, more ? h("span", { class: "none" }, " …") : null], text.length,
          "begin"),
        stagesOn(docno).map((each) => explained(each, true)));
    });
    const beyond = mine.flatMap(({ stage, documents }) => documents.filter(({ docno }) => !shown.has(docno)).map((document) => ({ stage,
      document }))).slice(0, SHOWN);
    return h("div", { class: "side", role: "group", "aria-label": `First documents of ${pipeline}` },
      h("h4", {}, h("bdi", {}, pipeline)),
      !hits ? h("p", { class: "empty" }, "No documents of this pipeline are kept for this query.")
        : rows.length ? h("ol", { class: "hits" }, rows) : h("p", { class: "empty" }, "It found nothing."),
      beyond.length > 0
        && h("details", {}, h("summary", {}, `${show.plural(beyond.length, "document")} that a stage explained, not among these`),
        beyond.map((each) => h("div", { class: "saw" }, h("p", { class: "hit" }, h("bdi", { class: "docno" }, each.document.docno), " ",
          judged(each.document.gain, level)),
          explained(each, false)))));
  };

  // Pointing at a document marks it in the other list and among the relevant ones.
  const linked = (box) => {
    let marked = null;
    const mark = (event) => {
      const doc = event.target.closest?.("[data-doc]")?.dataset.doc ?? null;
      if (doc === marked) return;
      marked = doc;
      for (const each of box.querySelectorAll("[data-doc]")) each.classList.toggle("twin", each.dataset.doc === doc);
    };
    for (const kind of ["mouseover", "focusin", "mouseleave"]) box.addEventListener(kind, mark);
    box.addEventListener("click", (event) => {
      const go = event.target.closest?.("[data-go]")?.dataset.go;
      if (!go) return;
      const there = [...box.querySelectorAll("li[data-doc]")].find((each) => `${each.dataset.list} ${each.dataset.doc}` === go);
      there?.scrollIntoView({ block: "nearest" });
      there?.focus({ preventScroll: true });
      const [docno, rank] = [".docno", ".rank"].map((each) => there?.querySelector(each).textContent);
      if (there) say(`${docno}, rank ${rank} in ${there.dataset.list}`);
    });
    return box;
  };

  // -- the relevant documents -------------------------------------------------------------------------------------------------

  const relevantTable = (about, pair) => {
    const { details, query } = about;
    const steps = pair.map((each) => about.funnel(each)?.steps ?? []);
    const id = `relevant-${++tables}`;
    const rank = (value) => h("td", { class: "num" }, value === null || value === undefined ? dash("not there") : show.count(value));
    const head = h("thead", {},
      h("tr", {}, h("th", { scope: "col", rowspan: 2 }, "Relevant document"),
        pair.map((each, place) => h("th", { scope: "colgroup", class: "edge", colspan: steps[place].length + 1 }, h("bdi", {}, each)))),
      h("tr", {}, pair.map((_, place) => [
        steps[place].map((step, number) => h("th", { scope: "col", class: number ? "num" : "num edge", title: called(step) },
          h("bdi", {}, step.stage))),
        h("th", { scope: "col", class: steps[place].length ? null : "edge" }, "In the end"),
      ])));
    const rows = query.relevant.map((each) => {
      const { docno, text, more } = details.documents[each.doc];
      return h("tr", { "data-doc": each.doc },
        h("th", { scope: "row" }, h("bdi", { class: "docno" }, docno), " ", h("span", { class: "tag" }, `grade ${each.gain}`),
          text && h("span", { class: "sub begin-one", dir: "auto" }, text.slice(0, 160), (more || text.length > 160) && "…")),
        pair.map((pipeline, place) => {
          const ranks = own(each.ranks, pipeline);
          return [steps[place].map((_, number) => rank(ranks?.[number])),
            h("td", { class: "fate" }, fate(about.funnel(pipeline), ranks, each.outside))];
        }));
    });
    const all = Object.keys(query.relevant[0]?.ranks ?? {});
    const others = all.length > pair.length && h("details", { toggle: (event) => {
      const box = event.currentTarget;
      if (box.open && box.childElementCount === 1) {
        box.append(grid({ caption: "Where each relevant document ends, in every pipeline.",
          heads: ["Relevant document", ...all.map((each) => ({ text: h("bdi", {}, each) }))],
          rows: query.relevant.map((each) => [{ node: h("bdi", {}, details.documents[each.doc].docno), head: true },
            ...all.map((pipeline) => fate(about.funnel(pipeline), own(each.ranks, pipeline), each.outside))]) }));
      }
    } }, h("summary", {}, `The same for all ${all.length} pipelines`));
    return [
      h("div", { class: "scroll", role: "region", tabindex: "0", "aria-labelledby": id },
        h("table", { class: "relevant" }, h("caption", { id }, "The relevant documents and their ranks after every stage",
          query.more_relevant > 0
            && `: the ${query.relevant.length} with the highest grades; ${show.count(query.more_relevant)} more are left out here`, "."),
        head, h("tbody", {}, rows))),
      others,
    ];
  };

  // -- what query stages did --------------------------------------------------------------------------------------------------

  const step = (each) => h("div", { class: "seen" },
    h("h5", {}, h("bdi", {}, each.stage)),
    each.words.length > 0 && clamped(each.words.map(([text, isNew]) => (isNew ? h("ins", { class: "new" }, text) : text)),
      each.words.reduce((sum, [text]) => sum + text.length, 0)),
    each.terms.length > 0 && h("ul", { class: "terms" },
      each.terms.map(({ term, weight, original, shade }) => {
        const word = h("bdi", { class: shade }, term);
        return h("li", {}, original ? h("strong", {}, word, h("span", { class: "sr" }, " (of the query)")) : word, " ",
          h("span", {}, figure(weight)));
      }),
      each.more > 0 && h("li", { class: "none" }, `and ${show.plural(each.more, "weaker term")}`)),
    each.forms.map((form) => h("p", { class: "note" }, `It was given ${form === "vector" ? "a vector" : "further token vectors"}.`)),
    each.told.map((line) => h("p", { class: "note" }, h("bdi", {}, line))),
    !each.changed && !each.told.length && h("p", { class: "note" }, "The query as it was."));

  const changes = (changed, pair) => {
    if (!changed.length) return null;
    const first = [...changed].sort((a, b) => pair.includes(b.pipeline) - pair.includes(a.pipeline));
    return [
      h("h4", {}, "What became of the query"),
      first.map((each) => h("details", { open: pair.includes(each.pipeline) },
        h("summary", {}, "In ", h("bdi", {}, each.pipeline),
          each.delta !== null && [" ", h("span", { class: each.delta > 0 ? "delta up" : "delta down" }, show.delta(each.delta)), " ",
            each.metric && h("span", { class: "tag" }, each.metric)]),
        each.steps.map(step))),
      h("p", { class: "key", "aria-hidden": "true" }, h("span", {}, h("strong", {}, h("span", { class: "w6" }, "a term of the query"))),
        h("span", {}, h("span", { class: "w6" }, "a term that was added")),
        h("span", {}, h("span", { class: "n6" }, "weighs against")), h("span", {}, h("ins", { class: "new" }, "a new word of the text"))),
    ];
  };

  // `about`: {qid, text, details, query, changed, seen, level, funnel(pipeline)}; `pair`: this pipeline, and the one it is compared with.
  looked.at = (about, pair) => {
    const { query, seen, changed } = about;
    const both = [...new Set(pair)];
    const elsewhere = [...new Set(seen.map(({ pipeline }) => pipeline))].filter((each) => !both.includes(each));
    return [
      changes(changed, both),
      query && h("h4", {}, "First documents"),
      query && linked(h("div", { class: "looked" },
        h("div", { class: both.length > 1 ? "sides" : "sides alone" }, hitList(about, both[0], both[1] ?? both[0]),
          both.length > 1 && hitList(about, both[1], both[0])),
        h("h4", {}, "Relevant documents"),
        query.relevant.length ? relevantTable(about, both) : h("p", { class: "empty" },
          "The collection’s judgements name no relevant document for this query."))),
      // Results of an older irkit hold explanations and no documents.
      !query && seen.map((each) => h("details", { open: both.includes(each.pipeline) },
        h("summary", {}, "What ", name(each.stage), " of ", name(each.pipeline), " looked at"),
        each.documents.map((document, place) => h("div", { class: "saw" },
          h("p", { class: "hit" }, h("span", { class: "rank" }, String(place + 1)), " ", h("bdi", { class: "docno" }, document.docno), " ",
            judged(document.gain, about.level), " ",
            h("span", { class: "tag" }, `score ${figure(document.score, 4)}`)),
          explained({ stage: each.stage, document }, false))))),
      query && elsewhere.length > 0 && h("p", { class: "note" }, "Stages of other pipelines explained themselves on this query: ",
        elsewhere.map((each) => [h("button", { type: "button", class: "quiet", click: () => state.set({ pipeline: each }) },
          h("bdi", {}, each)), " "])),
      seen.length > 0 && h("p", { class: "key", "aria-hidden": "true" }, h("span", {}, h("span", { class: "w3" }, "adds little")),
        h("span", {}, h("span", { class: "w10" }, "adds most")),
        h("span", {}, h("span", { class: "n6" }, "takes away"))),
    ];
  };
  looked.clamped = clamped;
}
