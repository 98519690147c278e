"""Questions asked of trained nets, or apart from sweeps.

Others use `trained` (opens nets and their pictures), `evaluate`, `responses`, `construct`, and `identity.grid`. The
package exports nothing itself: some of its modules have the names of their functions.
"""
