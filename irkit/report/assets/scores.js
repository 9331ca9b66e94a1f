// What the leaderboard and the pictures share: columns, and what is known of a score.
const board = {
  // The means first. `key` is the name; a collection that is called like a mean is told apart from it.
  columns: once(() => {
    const all = [...page.main.columns].sort((a, b) => (b.members.length > 0) - (a.members.length > 0));
    const isFirst = (column, number) => all.findIndex((other) => other.name === column.name) === number;
    return all.map((column, number) => ({
      ...column, mean: column.members.length > 0, key: isFirst(column, number) ? column.name : `${column.name} (collection)`,
    }));
  }),
  // What leads unless something else is chosen: the experiment's first average, or the mean over everything.
  first: () => {
    const means = board.columns().filter(({ mean }) => mean);
    const whole = means.find(({ kind }) => kind === "mean") ?? means.find(({ kind }) => kind !== "set");
    return whole ?? means[0] ?? board.columns()[0];
  },
  chosen: () => {
    const key = state.pick("column", board.columns().map((each) => each.key), board.first().key);
    return board.columns().find((each) => each.key === key);
  },
  metric: () => state.pick("metric", page.main.metrics),
  options: () => board.columns().map(({ key, mean }) => [key, mean && !/mean/i.test(key) ? `${key} (mean)` : key]),
  baseline: () => page.main.pipelines.findIndex((each) => each.name === page.main.baseline),
  value: (column, metric, pipeline) => column.values[metric]?.[pipeline] ?? null,
  reason: (column) => (
    column.reasons[0] ?? (column.mean ? "no mean, because a member has no score" : "the run gave no value of this metric")
  ),
  // Scores that agree to four decimals share a rank. Order controls have none: they show what a reranker does by itself.
  ranks: (column, metric) => {
    const shown = page.main.pipelines.map((each, number) => {
      const value = each.control ? null : board.value(column, metric, number);
      return value === null ? null : Number(value.toFixed(4));
    });
    return shown.map((value) => (value === null ? null : 1 + shown.filter((other) => other !== null && other > value).length));
  },
  // What one query's value exceeds another's by; 0 where the tests call them tied.
  delta: (ours, other) => (Math.abs(ours - other) <= page.main.tie ? 0 : ours - other),
  // The tests against the baseline of one metric: collection -> pipeline -> {mean, p, significant, wins, ties, losses}.
  tests: once((metric) => {
    const base = board.baseline();
    const against = ([ours, , mean, wins, ties, losses, , , , p, significant]) => [ours, { mean, wins, ties, losses, p, significant }];
    return new Map(page.main.families.filter((family) => family.metric === metric).map((family) => [
      family.collection, new Map(family.pairs.filter(([, other]) => other === base).map(against)),
    ]));
  }),
  test: (column, metric, pipeline) => (column.mean ? undefined : board.tests(metric).get(column.name)?.get(pipeline)),
  published: (column, metric, pipeline) => page.main.references.filter((each) => (
    each.metric === metric && each.pipeline === page.main.pipelines[pipeline].name
    && each.kind === column.kind && each.collection === column.of
  )),
  expected: (column, metric, pipeline) => (column.mean ? undefined : page.main.expected.find((each) => (
    each.metric === metric && each.pipeline === page.main.pipelines[pipeline].name && each.collection === column.name
  ))),
  marks: { match: "✓", near: "≈", off: "✗" },
};
