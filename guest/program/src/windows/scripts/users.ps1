# Local users, their passwords and rights, and the keys of those who administer.
$ErrorActionPreference = 'Stop'
$want = [Console]::In.ReadToEnd() | ConvertFrom-Json
function Join-Group($sid, $name) {
    try { Add-LocalGroupMember -SID $sid -Member $name }
    catch { if ($_.FullyQualifiedErrorId -notlike 'MemberExists*') { throw } }
}
foreach ($user in @($want.users)) {
    $there = Get-LocalUser | Where-Object { $_.Name -eq $user.name }
    $text = $user.password
    if (-not $text -and -not $there) {
        # Nobody knows it: the user comes in by key, or gets a password from an administrator.
        $bytes = New-Object byte[] 24
        $random = [Security.Cryptography.RandomNumberGenerator]::Create()
        $random.GetBytes($bytes)
        $text = 'aA1!' + [Convert]::ToBase64String($bytes)
    }
    if ($text) { $password = ConvertTo-SecureString $text -AsPlainText -Force }
    if (-not $there) { New-LocalUser -Name $user.name -Password $password -PasswordNeverExpires | Out-Null }
    elseif ($text) { Set-LocalUser -Name $user.name -Password $password }
    Join-Group 'S-1-5-32-545' $user.name
    if ($user.admin) { Join-Group 'S-1-5-32-544' $user.name }
}
$begin = '# labyard: begin (lines in here are replaced)'
$end = '# labyard: end'
$folder = Join-Path $env:ProgramData 'ssh'
$file = Join-Path $folder 'administrators_authorized_keys'
if (@($want.keys).Count -gt 0 -or (Test-Path $file)) {
    $inside = $false
    $lines = @(if (Test-Path $file) {
        foreach ($line in [IO.File]::ReadAllLines($file)) {
            if ($line -eq $begin) { $inside = $true }
            elseif ($line -eq $end) { $inside = $false }
            elseif (-not $inside) { $line }
        }
    })
    if (@($want.keys).Count -gt 0) { $lines += @($begin) + @($want.keys) + @($end) }
    New-Item -ItemType Directory -Force -Path $folder | Out-Null
    [IO.File]::WriteAllLines($file, [string[]]$lines)
    # The server takes the file only if nobody but administrators and the system can write it.
    & icacls.exe $file /inheritance:r /grant '*S-1-5-32-544:F' /grant '*S-1-5-18:F' | Out-Null
    if ($LASTEXITCODE -ne 0) { throw "icacls ended with $LASTEXITCODE" }
}
