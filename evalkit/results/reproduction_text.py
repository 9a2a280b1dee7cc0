from evalkit.results.summary import document
