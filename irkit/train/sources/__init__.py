"""Where a recipe's examples come from: judged queries, and queries made from documents."""
