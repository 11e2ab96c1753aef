function assert_error(run, identifier)
%ASSERT_ERROR  Error unless run() raises an error with this identifier, and a message.

try
    run();
catch problem
    if strcmp(problem.identifier, identifier) && ~isempty(strfind(problem.message, ':'))
        return
    end
    error('sqrtm:assertionFailed', '%s: expected %s, got %s: %s', func2str(run), identifier, problem.identifier, ...
        problem.message);
end
error('sqrtm:assertionFailed', '%s: expected %s, got no error', func2str(run), identifier);
end
