"""Can solvers find the identity (Sec. 3.1)?"""
