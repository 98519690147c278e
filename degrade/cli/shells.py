"""Completion scripts for bash and zsh that put no space behind `key=` and `folder/`. fish puts none there by itself."""

from contextlib import suppress

_BASH = """
%(complete_func)s() {
    local IFS=$'\\n'
    COMPREPLY=( $( env COMP_WORDS="${COMP_WORDS[*]}" \\
                   COMP_CWORD=$COMP_CWORD \\
                   %(autocomplete_var)s=complete_bash $1 ) )
    [[ "${COMPREPLY[0]}" == *[=/] ]] && compopt -o nospace
    return 0
}

complete -o default -F %(complete_func)s %(prog_name)s
"""
# Names of commands come with their explanations, other words without.
_ZSH = """
#compdef %(prog_name)s

%(complete_func)s() {
  if (( CURRENT == 2 )); then
    eval $(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" %(autocomplete_var)s=complete_zsh %(prog_name)s)
    return
  fi
  local -a found
  found=("${(@f)$(env COMP_WORDS="${(j: :)words[1,$CURRENT]}" COMP_CWORD=$((CURRENT - 1)) \\
    %(autocomplete_var)s=complete_bash %(prog_name)s)}")
  compadd -S '' -- ${(M)found:#*[=/]}
  compadd -- ${found:#*[=/]}
}

compdef %(complete_func)s %(prog_name)s
"""


def use_own_scripts() -> None:
    """Has --show-completion and --install-completion hand out these. A typer that keeps its own elsewhere hands out its
    own, which work and put a space there.
    """
    with suppress(ImportError, AttributeError):
        from typer import _completion_shared as shared

        shared._completion_scripts.update(bash=_BASH, zsh=_ZSH)  # pyright: ignore[reportPrivateUsage]
