// Sphinx shows first what scores highest. A title with the whole query comes before pages with single words of it, and a
// page of "I want to …" before others with the same words. The other values are those of Sphinx.
var Scorer = {
  score: ([docname, , , , score, , kind]) =>
    score + (kind === "title" ? 20 : 0) + (docname.startsWith("docs/tasks/") ? 4 : 0),
  objNameMatch: 11, objPartialMatch: 6, objPrio: { 0: 15, 1: 5, 2: -5 }, objPrioDefault: 0,
  title: 15, partialTitle: 7, term: 5, partialTerm: 2,
};
