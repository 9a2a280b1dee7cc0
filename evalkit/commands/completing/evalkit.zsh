#compdef evalkit
# Completion of evalkit for zsh. In ~/.zshrc, after compinit:  source <(evalkit completion zsh)
_evalkit() {
    local line value about
    local -a whole wholes open opens
    for line in "${(@f)$(evalkit __complete zsh "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}"; do
        value=${line%%$'\t'*}
        about=${${line#*$'\t'}%%$'\t'*}
        [[ -n $value ]] || continue
        [[ -n $about ]] && about="$value  ($about)" || about=$value
        if [[ $line == *$'\t'open ]]; then
            open+=("$value")
            opens+=("$about")
        else
            whole+=("$value")
            wholes+=("$about")
        fi
    done
    (( ${#open} )) && compadd -U -S '' -l -d opens -a open
    (( ${#whole} )) && compadd -U -l -d wholes -a whole
    return 0
}
if [ "$funcstack[1]" = "_evalkit" ]; then
    _evalkit "$@"
else
    compdef _evalkit evalkit
fi
