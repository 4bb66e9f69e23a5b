"""Fuzzing of everything that reads what strangers send: frames, messages, callbacks, answers, pictures, the journal.

targets.py     each parser, and what must hold whatever it is given
link_input.py  bytes read as a course of events on a line: for the stateful ones
corpus.py      the committed seeds, one text file a target; what the fuzzer has found beside them
worker.py      one process under atheris (libFuzzer): one target, for so long
growth.py      one process without it: does memory grow when the same inputs come again and again?
results.py     what was really run, added up; the table of docs/fuzzing.md
__main__.py    tools/fuzz
"""
