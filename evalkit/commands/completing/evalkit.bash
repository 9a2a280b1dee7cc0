# Completion of evalkit for bash. In ~/.bashrc:  source <(evalkit completion bash)
_evalkit() {
    local one found=()
    while IFS= read -r one; do  # an array of $(…) would take names with brackets for patterns
        found+=("$one")
    done < <(evalkit __complete bash "${COMP_LINE:0:COMP_POINT}" "$2" 2>/dev/null)
    COMPREPLY=("${found[@]:1}")
    [[ ${found[0]} == open ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -F _evalkit evalkit
