function method = check_method(method, known, caller)
%CHECK_METHOD  The one of KNOWN that METHOD is, in any case of letters; or an error.

text = ischar(method) && size(method, 1) == 1 || isstring(method) && isscalar(method);
if ~text || ~any(strcmpi(method, known))
    got = class(method);
    if text
        got = sprintf('''%s''', char(method));
    end
    error('sqrtm:unknownMethod', '%s: method must be one of ''%s'', got %s', caller, strjoin(known, ''', '''), got);
end
method = lower(char(method));
end
