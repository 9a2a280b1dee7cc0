# Completion of evalkit for bash. In ~/.bashrc:  source <(evalkit completion bash)
_evalkit() {
    local IFS=$'\n' found
    found=($(evalkit __complete bash "${COMP_LINE:0:COMP_POINT}" "$2" 2>/dev/null))
    COMPREPLY=("${found[@]:1}")
    [[ ${found[0]} == open ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -F _evalkit evalkit
