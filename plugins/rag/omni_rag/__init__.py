"""Answers from documents, with the page and the box they rest on."""
