"""Exercises that grade themselves: tasks and their typical mistakes, the box, the judge, the grade
book.
"""
