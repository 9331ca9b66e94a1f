"""Lucene, in this process: the JVM, indexes whose order is trec_eval's, and batches of queries over them."""
