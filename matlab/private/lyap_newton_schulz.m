function X = lyap_newton_schulz(S, G, steps)
%LYAP_NEWTON_SCHULZ  Solution of S*X + X*S = G for Hermitian G by Newton-Schulz for the sign of [S, G; 0, -S].
%   With N = S/c and Q = G/c, c = norm(S, 'fro'), a step is
%
%     Q <- (3*Q - N*(N*Q) + (N*Q - Q*N)*N)/2,    N <- N*(3*I - N*N)/2
%
%   and Q -> 2*X.

c = page_norm(S);
c(c == 0) = Inf;  % S = 0: X = 0
N = S./c;
X = G./c;
for step = 1:steps
    NX = page_times(N, X);
    X = symmetrize(3*X - page_times(N, NX) + page_times(NX - page_ctranspose(NX), N))/2;
    if step < steps
        N = page_times(N, add_to_diagonal(-page_times(N, N)/2, 1.5));
    end
end
X = X/2;
end
