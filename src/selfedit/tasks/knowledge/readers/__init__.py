"""Documents as people have them: PDF, Word, PowerPoint, HTML, EPUB and tables, each as Markdown.

A file is parsed in a process of its own (`child`) with bounds on memory, time and what comes out;
that process opens no connection, starts no program and gets no secret. `extract` is the one way in.
"""
